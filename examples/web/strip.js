// Tokens as a strip of colours: one cell for each, a hue for each codeword.

const CELL = 6; // pixels
const HEIGHT = 28;

/** Draw tokens on a canvas. Those from `settled` on are paler: what comes next may still change them. */
export function drawStrip(canvas, tokens, settled = tokens.length) {
  const scale = globalThis.devicePixelRatio ?? 1;
  canvas.width = Math.max(1, tokens.length * CELL * scale);
  canvas.height = HEIGHT * scale;
  canvas.style.width = `${tokens.length * CELL}px`;
  canvas.style.height = `${HEIGHT}px`;
  const pen = canvas.getContext("2d");
  tokens.forEach((token, i) => {
    pen.globalAlpha = i < settled ? 1 : 0.35;
    pen.fillStyle = colour(token);
    pen.fillRect(i * CELL * scale, 0, CELL * scale, HEIGHT * scale);
  });
}

/** Neighbouring codewords get hues far apart: each step is the golden angle. */
function colour(token) {
  return `hsl(${(token * 137.508) % 360} 65% ${40 + 10 * (token % 3)}%)`;
}

/** Say tokens in words: repeated ones once. */
export function units(tokens) {
  return tokens.filter((token, i) => token !== tokens[i - 1]).join(" ");
}
