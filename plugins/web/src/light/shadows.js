// What lifted shadows are cleaned of: the steps between codes and the noise of chroma (runtime/light/shadows.py, where the
// reasons for the numbers stand). The shader in gpu.js does it; a test holds the numbers here to Python's.

/** @typedef {[number, number, number]} Tap dy, dx and weight */

/**
 * Place four taps on each ring of [radius, weight], every ring turned against the one before.
 * @param {[number, number][]} rings
 * @returns {Tap[]}
 */
function star(rings) {
  return rings.flatMap(([radius, weight], number) =>
    [0, 1, 2, 3].map((quarter) => {
      const angle = 0.3 + 1.44 * number + (Math.PI / 2) * quarter;
      const place = (/** @type {number} */ share) => Math.round(radius * share) || 0; // no -0
      return /** @type {Tap} */ ([place(Math.sin(angle)), place(Math.cos(angle)), weight]);
    }),
  );
}

export const LUMA_TAPS = star([[1, 3], [3, 2], [7, 1], [13, 1], [22, 1]]);
export const LUMA_UNIT = LUMA_TAPS.reduce((sum, [, , weight]) => sum + weight, 0); // what one code is in a sum of steps
export const FULL_CHROMA_TAPS = star([[2, 1], [7, 1], [13, 1], [22, 1]]);
export const REACH = 22; // of the farthest tap
export const LUMA_GATE = 8; // codes of 8 bits in which what looks alike may differ
export const LEAST_GATE = 1.5; // the same in chroma: without noise, and at most
export const LARGEST_GATE = 12;
export const CLEAN = 0.3; // codes of noise up to which a picture counts as clean
export const NOISE_GATE = 6; // codes of gate to a code of noise above that
export const INNER_WHITE = 255 << 6; // luma and chroma have 14 bits
export const LIFTED = 0.3; // stops of gain from which a row is cleaned, the whole of it: Python stops at its last lifted column
export const YCBCR = { r_cr: 1.4020000000000001, g_cb: -0.34413628620102216, g_cr: -0.7141362862010221, b_cb: 1.772 }; // ITU-T T.871

// How OpenCV's integers make Y', Cb and Cr of R, G and B, in 1 / 2^14: the gates are exact, so this is, too.
export const TO_Y = [4899, 9617, 1868];
export const TO_CB = 9241;
export const TO_CR = 11682;
export const TO_GRAY = [9798, 19235, 3735]; // of 8 bits, in 1 / 2^15

/**
 * Compute how far chroma may differ to look alike, in codes of 14 bits.
 * @param {number} noise of chroma, of full scale
 */
export function chromaGate(noise) {
  const codes = Math.min(LEAST_GATE + NOISE_GATE * Math.max(255 * noise - CLEAN, 0), LARGEST_GATE);
  return Math.floor((codes * INNER_WHITE) / 255);
}

/**
 * Compute for each row of the maps the least log2 of light that there can be between it and its neighbours: rows of the
 * picture where it is above -LIFTED are not cleaned.
 * @param {import("./light_map.js").Coefficients} coefficients
 */
export function darkestOfRows({ size: { height, width }, slope, offset }) {
  const rows = Array.from({ length: height }, (_, row) => {
    let least = Infinity;
    for (let i = row * width; i < (row + 1) * width; i++) least = Math.min(least, offset[i], offset[i] + slope[i]);
    return least;
  });
  return rows.map((least, row) => Math.min(rows[row - 1] ?? least, least, rows[row + 1] ?? least));
}
