// Pictures between the page and the model, as the library does it: letterboxed to the model's size and brought back.
// A picture is { data: Float32Array of [C, H, W] in [-1, 1], channels, height, width }.

/** Return the picture of an ImageData, for a model that takes pictures of the given kind; one channel is the mean of the colours, weighted as brightness is seen. */
export function fromImage({ data, width, height }, { channels, low, high, depth }) {
  const out = picture(channels, height, width);
  const full = 2 ** depth - 1;
  const scale = (value) => Math.min(1, Math.max(-1, (((value * full) / 255 - low) * 2) / (high - low) - 1));
  for (let i = 0; i < height * width; i++) {
    const [r, g, b] = data.subarray(4 * i, 4 * i + 3);
    if (channels === 1) out.data[i] = scale(Math.round(0.299 * r + 0.587 * g + 0.114 * b));
    else [r, g, b].forEach((value, c) => (out.data[c * height * width + i] = scale(value)));
  }
  return out;
}

/** Return a picture as ImageData. */
export function toImage({ data, channels, height, width }, { low, high, depth }) {
  const image = new ImageData(width, height);
  const full = 2 ** depth - 1;
  const shown = (value) => Math.round(((((value + 1) / 2) * (high - low) + low) * 255) / full);
  for (let i = 0; i < height * width; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = shown(data[(c % channels) * height * width + i]);
    image.data[4 * i + 3] = 255;
  }
  return image;
}

/** Pad a picture by its edges to the shape of height x width and resize it; `back` brings a result to the picture's size.
 *  With `keeps`, for models that keep their source, a larger picture keeps its own detail: what changed is enlarged and added. */
export function letterbox(x, height, width, keeps = false) {
  const scale = Math.max(x.height / height, x.width / width);
  const tall = Math.max(x.height, Math.ceil(height * scale - 1e-6));
  const wide = Math.max(x.width, Math.ceil(width * scale - 1e-6));
  const top = Math.floor((tall - x.height) / 2);
  const left = Math.floor((wide - x.width) / 2);
  const inside = (value, size) => Math.min(size - 1, Math.max(0, value));
  const padded = take(x, tall, wide, (row, column) => [inside(row - top, x.height), inside(column - left, x.width)]);
  const fitted = resize(padded, height, width);
  const enlarged = (y) => take(resize(y, tall, wide), x.height, x.width, (row, column) => [row + top, column + left]);
  if (!keeps || scale <= 1) return { fitted, back: enlarged };
  const added = (y) => {
    const change = enlarged({ ...y, data: y.data.map((value, i) => value - fitted.data[i]) });
    return { ...x, data: x.data.map((value, i) => Math.min(1, Math.max(-1, value + change.data[i]))) };
  };
  return { fitted, back: added };
}

/** Resize a picture: bilinear, with the filter widened where it shrinks. */
export function resize(x, height, width) {
  if (x.height === height && x.width === width) return x;
  const rows = weights(x.height, height);
  const columns = weights(x.width, width);
  const across = picture(x.channels, x.height, width);
  for (let row = 0; row < x.channels * x.height; row++) {
    columns.forEach(([first, shares], column) => {
      across.data[row * width + column] = shares.reduce((sum, share, k) => sum + share * x.data[row * x.width + first + k], 0);
    });
  }
  const out = picture(x.channels, height, width);
  for (let c = 0; c < x.channels; c++) {
    rows.forEach(([first, shares], row) => {
      for (let column = 0; column < width; column++) {
        const from = (c * x.height + first) * width + column;
        out.data[(c * height + row) * width + column] = shares.reduce((sum, share, k) => sum + share * across.data[from + k * width], 0);
      }
    });
  }
  return out;
}

/** For each of `to` pixels: the first of the `from` pixels that it is made of, and the share of each. */
function weights(from, to) {
  const scale = from / to;
  const reach = Math.max(1, scale);
  return Array.from({ length: to }, (_, i) => {
    const centre = scale * (i + 0.5);
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const count = Math.min(from, Math.trunc(centre + reach + 0.5)) - first;
    const raw = Array.from({ length: count }, (_, k) => Math.max(0, 1 - Math.abs(k + first - centre + 0.5) / reach));
    const sum = raw.reduce((a, b) => a + b, 0);
    return [first, raw.map((value) => value / sum)];
  });
}

function take(x, height, width, where) {
  const out = picture(x.channels, height, width);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const [r, k] = where(row, column);
      for (let c = 0; c < x.channels; c++) out.data[(c * height + row) * width + column] = x.data[(c * x.height + r) * x.width + k];
    }
  }
  return out;
}

function picture(channels, height, width) {
  return { data: new Float32Array(channels * height * width), channels, height, width };
}
