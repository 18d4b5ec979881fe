/* The shop's small CNN in TensorFlow.js: three convolutions and a mean, and one pass back to the pixels. */
(function () {
  "use strict";
  const STRIDES = [2, 2, 1], PADS = [2, 1, 1]; // of the three convolutions; amrlib/features/small_cnn.py

  /* ``arrays``: w0, b0 … w2, b2 of the data, filters as (height, width, in, out). */
  Labs.network = function (arrays) {
    const shapes = [[5, 5, 1, 24], [3, 3, 24, 48], [3, 3, 48, 128]];
    const W = shapes.map((shape, n) => tf.tensor4d(arrays[`w${n}`], shape)), B = shapes.map((_, n) => tf.tensor1d(arrays[`b${n}`]));
    const input = (grey) => tf.div(tf.tensor4d(Float32Array.from(grey), [1, 28, 28, 1]), 255);
    const layer = (x, n) => tf.relu(tf.add(tf.conv2d(x, W[n], STRIDES[n], PADS[n]), B[n]));
    // what reaches a layer's input from its output: only where the ReLU let something through
    const back = (d, h, n, shape) => tf.conv2dTranspose(tf.mul(d, tf.step(h)), W[n], shape, STRIDES[n], PADS[n]);

    return {
      /* f(x), 128 numbers, of 784 grey levels from 0 to 255. */
      features: (grey) => tf.tidy(() => tf.mean(layer(layer(layer(input(grey), 0), 1), 2), [1, 2]).dataSync()),

      /* ∂(gammaᵀ f(x))/∂x, 784 numbers per grey level. */
      slope: (grey, gamma) => tf.tidy(() => {
        const x = input(grey), h0 = layer(x, 0), h1 = layer(h0, 1), h2 = layer(h1, 2);
        const d = tf.mul(tf.onesLike(h2), tf.div(tf.tensor1d(gamma), 49)); // the mean over 7 x 7 places
        return tf.div(back(back(back(d, h2, 2, h1.shape), h1, 1, h0.shape), h0, 0, x.shape), 255).dataSync();
      }),
    };
  };
})();
