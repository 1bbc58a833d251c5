// What of a picture is picture: found between bars, frames and margins of one colour (runtime/light/bars.py, where the
// reasons for the numbers stand; they have the same names).

const SAME = 5;
const FLAT = 1.5;
const DIFFERENT = 8;
const SOFT = 0.012;
const RINGING = 16;
const MOST = 0.5;
const DARK = 24;
const SAME_DARK = 2;
const MOST_OF_DARK = 0.15;
const ALL = 0.997;
const NEARLY = 0.9;
const TEXT = 0.55;
const THIN = 0.006;
const LEAST = 0.2;
const SAMPLES = 480;

/** @typedef {import("./proxy.js").Size} Size */

/**
 * Rows [top, bottom) and columns [left, right) of a picture.
 * @typedef {{top: number, bottom: number, left: number, right: number}} Area
 */

/**
 * Reads `count` lines of RGBA samples from the line `from` on, each sample `step` from the next between `start` and
 * `stop`. A line is a row, or with `columns` a column; with `backwards` lines are counted from the other end.
 * @typedef {(lines: {columns: boolean, backwards: boolean, from: number, count: number, start: number, stop: number,
 *   step: number}) => Uint8Array} ReadLines
 */

/**
 * @param {Size} size
 * @returns {Area}
 */
export const whole = ({ height, width }) => ({ top: 0, bottom: height, left: 0, right: width });

/**
 * Find the part between the bars; all of it where there are none, or where nothing else is there.
 * @param {ReadLines} read
 * @param {Size} size
 * @returns {Area}
 */
export function pictureArea(read, size) {
  let area = whole(size);
  for (let pass = 0; pass < 2; pass++) {
    // a frame's sides reach into each other's lines: rows first, columns between them, rows again
    const [top, bottom] = edges(read, false, [0, size.height], [area.left, area.right]);
    const [left, right] = edges(read, true, [0, size.width], [top, bottom]);
    area = { top, bottom, left, right };
  }
  const enough = area.bottom - area.top >= LEAST * size.height && area.right - area.left >= LEAST * size.width;
  return enough ? area : whole(size);
}

/**
 * Find [first, last) of the lines that are picture.
 * @param {ReadLines} read
 * @param {boolean} columns
 * @param {[number, number]} lines
 * @param {[number, number]} across
 * @returns {[number, number]}
 */
function edges(read, columns, [, count], [start, stop]) {
  const step = Math.max(1, Math.floor((stop - start) / SAMPLES));
  const side = (/** @type {boolean} */ backwards) =>
    bar(new Lines((from, some) => read({ columns, backwards, from, count: some, start, stop, step }), count));
  const first = side(false);
  const last = count - side(true);
  return first < last ? [first, last] : [0, count];
}

/** Lines from one side of the picture on, read as they are asked for. */
class Lines {
  /**
   * @param {(from: number, count: number) => Uint8Array} read
   * @param {number} count
   */
  constructor(read, count) {
    this.count = count;
    this.read = read;
    /** @type {Uint8Array[]} */
    this.known = [];
  }

  /**
   * Have the lines [0, count) read.
   * @param {number} count
   */
  need(count) {
    const missing = Math.min(count, this.count) - this.known.length;
    if (missing <= 0) return;
    const samples = this.read(this.known.length, missing);
    const length = samples.length / missing;
    for (let i = 0; i < missing; i++) this.known.push(samples.subarray(i * length, (i + 1) * length));
  }

  /**
   * What share of a line lies within the tolerance of the colour.
   * @param {number} line
   * @param {number[]} colour
   * @param {number} tolerance
   */
  share(line, colour, tolerance) {
    this.need(line + 1);
    const samples = this.known[line];
    let far = 0;
    for (let i = 0; i < samples.length; i += 4) {
      if (
        Math.abs(samples[i] - colour[0]) > tolerance ||
        Math.abs(samples[i + 1] - colour[1]) > tolerance ||
        Math.abs(samples[i + 2] - colour[2]) > tolerance
      ) {
        far++;
      }
    }
    return 1 - far / (samples.length / 4);
  }

  /**
   * @param {number} line
   * @returns {number[]} the median of each channel
   */
  median(line) {
    this.need(line + 1);
    const samples = this.known[line];
    return [0, 1, 2].map((channel) => {
      const values = samples.filter((_, i) => i % 4 === channel).sort();
      const middle = values.length >> 1;
      return values.length % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
    });
  }
}

/**
 * Count the first lines that are a bar; 0 for none.
 * @param {Lines} lines
 */
function bar(lines) {
  const colour = lines.median(0);
  const found = flat(lines, colour, SAME, MOST);
  if (found || !colour.every((value) => value <= DARK)) return found;
  return flat(lines, colour, SAME_DARK, MOST_OF_DARK);
}

/**
 * Count the first lines that are of this colour, if enough of what follows them differs; 0 otherwise.
 * @param {Lines} lines
 * @param {number[]} colour
 * @param {number} same
 * @param {number} most
 */
function flat(lines, colour, same, most) {
  if (lines.share(0, colour, same) < ALL) return 0;
  /** @type {number[]} */
  const share = [];
  for (let wide = 16; share.length < lines.count; wide *= 2) {
    const until = Math.min(share.length + wide, lines.count);
    lines.need(until);
    while (share.length < until) share.push(lines.share(share.length, colour, same));
    if (share[share.length - 1] < TEXT) break;
  }
  const begun = share.findIndex((value) => value < TEXT);
  const end = begun < 0 ? share.length : begun;
  let bar = share.slice(0, end).findLastIndex((value) => value >= ALL) + 1;
  if (lines.median(bar >> 1).some((value, channel) => Math.abs(value - colour[channel]) > FLAT)) return 0;
  while (bar < end && share[bar] >= NEARLY) bar++;
  const reach = Math.max(2, Math.min(RINGING, 2 * bar), Math.round(SOFT * lines.count));
  const behind = Math.min(reach + 1, lines.count - bar);
  if (behind <= 0) return lines.count;
  if (bar < THIN * lines.count) return 0;
  const edge = lines.median(bar - 1);
  lines.need(bar + behind);
  let different = 0;
  for (let i = 0; i < behind; i++) different = Math.max(different, 1 - lines.share(bar + i, edge, DIFFERENT));
  return different < most ? 0 : bar;
}
