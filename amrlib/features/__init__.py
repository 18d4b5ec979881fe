"""From pixels to features: the small CNN that ships with the book, and EfficientNet-Lite0 for pictures of your own."""
