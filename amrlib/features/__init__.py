"""From pixels to features: the small CNN that ships with the book, EfficientNet-Lite0, and torchvision's by name."""
