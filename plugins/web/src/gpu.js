// Everything that is done at full size, in WebGL2 shaders: shrinking to the proxy, reading the lines in which bars are
// looked for and the blocks in which noise is, and the gain with what cleans lifted shadows (runtime/light/gain.py and
// shadows.py have the formulas and their reasons).
//
// Row 0 of every texture and frame buffer is the picture's top row; only the canvas has it at the bottom.

import { LUMA_WEIGHTS } from "./light/constants.js";
import { COLUMNS, ROWS } from "./light/noise.js";
import {
  chromaGate,
  darkestOfRows,
  FULL_CHROMA_TAPS,
  INNER_WHITE,
  LIFTED,
  LUMA_GATE,
  LUMA_TAPS,
  LUMA_UNIT,
  REACH,
  TO_CB,
  TO_CR,
  TO_GRAY,
  TO_Y,
  YCBCR,
} from "./light/shadows.js";

/** @typedef {import("./light/proxy.js").Size} Size */
/** @typedef {import("./light/bars.js").Area} Area */
/** @typedef {import("./light/bars.js").ReadLines} ReadLines */
/** @typedef {import("./light/noise.js").ReadBlocks} ReadBlocks */
/** @typedef {import("./light/light_map.js").Coefficients} Coefficients */

const VERTEX = `#version 300 es
void main() { // one triangle that covers everything
  gl_Position = vec4(float(gl_VertexID / 2) * 4.0 - 1.0, float(gl_VertexID % 2) * 4.0 - 1.0, 0.0, 1.0);
}`;

const HEAD = `#version 300 es
precision highp float;
precision highp int;
uniform highp sampler2D source;
`;

const COLOUR = `${HEAD}
out vec4 result;
`;

// Half of an area's size, rounded to codes as OpenCV does it: in the dark a part of a code is much of the light. Alpha is
// the least of the four.
const HALVE = `${COLOUR}
uniform ivec2 corner; // top left of the area

void main() {
  ivec2 place = corner + 2 * ivec2(gl_FragCoord.xy);
  vec3 sum = vec3(2.0);
  float least = 1.0;
  for (int i = 0; i < 4; i++) {
    vec4 pixel = texelFetch(source, place + ivec2(i & 1, i >> 1), 0);
    sum += floor(pixel.rgb * 255.0 + 0.5);
    least = min(least, pixel.a);
  }
  result = vec4(floor(sum / 4.0) / 255.0, least);
}`;

// Averages over areas; alpha: the least alpha, or where \`weighted\` the mean, which colours are weighted by. The few
// pictures smaller than the network's least size are interpolated, where not weighted in OpenCV's integers.
const SHRINK = `${COLOUR}
uniform ivec4 area; // left, top, width, height
uniform ivec2 size; // of the result
uniform int block; // side of the squares that are averaged first
uniform bool weighted, enlarging;

vec4 at(ivec2 place) { return texelFetch(source, area.xy + clamp(place, ivec2(0), area.zw - 1), 0); }

vec4 interpolated(vec2 middle) {
  ivec2 low = ivec2(floor(middle)), after = ivec2(floor((middle - vec2(low)) * 2048.0 + 0.5)), before = 2048 - after;
  vec4 corners[4] = vec4[](at(low), at(low + ivec2(1, 0)), at(low + ivec2(0, 1)), at(low + 1));
  ivec3 above = ivec3(corners[0].rgb * 255.0 + 0.5) * before.x + ivec3(corners[1].rgb * 255.0 + 0.5) * after.x;
  ivec3 below = ivec3(corners[2].rgb * 255.0 + 0.5) * before.x + ivec3(corners[3].rgb * 255.0 + 0.5) * after.x;
  ivec3 sum = ((above >> 4) * before.y >> 16) + ((below >> 4) * after.y >> 16) + 2;
  return vec4(vec3(sum >> 2) / 255.0, min(min(corners[0].a, corners[1].a), min(corners[2].a, corners[3].a)));
}

void main() {
  ivec2 cell = ivec2(gl_FragCoord.xy);
  vec2 blocks = vec2(area.zw / block), scale = blocks / vec2(size);
  vec3 colour = vec3(0.0);
  float alpha = 0.0, least = 1.0, seen = 0.0, covered = 0.0;
  vec2 first = vec2(cell) * scale, last = min(vec2(cell + 1) * scale, blocks);
  ivec2 start = ivec2(floor(first)), end = ivec2(ceil(last));
  if (enlarging) {
    vec2 middle = clamp((vec2(cell) + 0.5) * scale - 0.5, vec2(0.0), vec2(area.zw) - 1.0);
    if (!weighted) {
      result = interpolated(middle);
      return;
    }
    start = ivec2(floor(middle));
    first = middle; // its distance to a pixel gives the weight
    end = start + 2;
  }
  for (int y = start.y * block; y < end.y * block; y++) {
    for (int x = start.x * block; x < end.x * block; x++) {
      vec2 place = vec2(x / block, y / block);
      vec2 share = enlarging ? 1.0 - abs(place - first) : min(place + 1.0, last) - max(place, first);
      vec4 pixel = at(ivec2(x, y));
      float weight = max(share.x, 0.0) * max(share.y, 0.0);
      covered += weight;
      least = min(least, pixel.a);
      alpha += weight * pixel.a;
      weight *= weighted ? pixel.a : 1.0;
      seen += weight;
      colour += weight * pixel.rgb;
    }
  }
  result = vec4(colour / max(seen, 1e-9), weighted ? alpha / covered : least);
}`;

// Every \`step\`-th sample of some lines, one line a row.
const LINES = `${COLOUR}
uniform ivec2 full; // size of the picture
uniform bool columns, backwards;
uniform int from, start, step;

void main() {
  ivec2 here = ivec2(gl_FragCoord.xy);
  int line = from + here.y, across = start + here.x * step;
  line = backwards ? (columns ? full.x : full.y) - 1 - line : line;
  vec4 pixel = texelFetch(source, columns ? ivec2(line, across) : ivec2(across, line), 0);
  result = vec4(pixel.a > 0.0 ? pixel.rgb : vec3(0.0), 1.0); // what is transparent counts as black
}`;

// Square blocks of the picture, side by side.
const BLOCKS = `${COLOUR}
uniform ivec4 area; // left, top, width, height
uniform int tops[${ROWS}], lefts[${COLUMNS}], side;

void main() {
  ivec2 here = ivec2(gl_FragCoord.xy), block = here / side;
  ivec2 place = ivec2(lefts[block.x], tops[block.y]) + here - block * side;
  result = texelFetch(source, area.xy + min(place, area.zw - 1), 0);
}`;

// A pixel of a window as it is drawn. The size that is seen may be smaller than the window's.
const WINDOW = `
uniform ivec4 area, window; // left, top, width, height: of the picture between bars; of what is drawn
uniform vec2 target; // size of what is drawn to
uniform bool shrunk;

vec4 at(vec2 place) {
  if (!shrunk) return texelFetch(source, ivec2(place), 0);
  vec2 full = vec2(textureSize(source, 0)), wide = vec2(window.zw) / target / full;
  return textureGrad(source, place / full, vec2(wide.x, 0.0), vec2(0.0, wide.y));
}
`;

const floats = (/** @type {number[]} */ ...values) => values.map((value) => value.toFixed(6)).join(", ");

// What pixels are compared by: gray in 1 / FINE of a code, and Y', Cb and Cr of 14 bits, as OpenCV's integers make them.
// The window is padded by REACH, beyond the area with its mirror image.
const FINE = 128;
const CODES = `${HEAD}
${WINDOW}
out ivec4 result;

void main() {
  vec2 place = vec2(window.xy) + (gl_FragCoord.xy - ${floats(REACH)}) * vec2(window.zw) / target;
  vec2 size = vec2(area.zw), inside = place - vec2(area.xy);
  vec3 colour = at(vec2(area.xy) + abs(mod(inside + size, 2.0 * size) - size)).rgb;
  float gray = shrunk ? dot(colour * 255.0, vec3(${floats(...TO_GRAY)})) / 32768.0
    : floor((dot(floor(colour * 255.0 + 0.5), vec3(${floats(...TO_GRAY)})) + 16384.0) / 32768.0);
  ivec3 deep = ivec3(colour * ${floats(INNER_WHITE)} + 0.5);
  int luma = (deep.r * ${TO_Y[0]} + deep.g * ${TO_Y[1]} + deep.b * ${TO_Y[2]} + 8192) >> 14;
  int cb = ((deep.b - luma) * ${TO_CB} + 8192) >> 14, cr = ((deep.r - luma) * ${TO_CR} + 8192) >> 14;
  result = ivec4(int(min(gray, 254.0) * ${floats(FINE)}), luma, cb, cr); // 254 and 255 count as one
}`;

// The tone curve f(x) = x ((1 - x^2) L^2 + x^2)^(-1/2) for luma and for the brightest channel; chroma is scaled by the
// slope between the two. Before, lifted shadows are cleaned by the mean of what is alike around them: luma of the steps
// between codes, chroma of noise.
const GAIN = `${COLOUR}
${WINDOW}
uniform highp sampler2D coefficients; // slope, offset, the least light of a row
uniform highp isampler2D codes;
uniform ivec2 lumaTaps[${LUMA_TAPS.length}], chromaTaps[${FULL_CHROMA_TAPS.length}];
uniform float strength, lowest;
uniform int gate; // of chroma, in codes of 14 bits
uniform bool canvas, lightMap;

vec2 interpolated(vec2 place) { // place in [0, 1]
  vec2 size = vec2(textureSize(coefficients, 0));
  vec2 at = clamp(place * size - 0.5, vec2(0.0), size - 1.0);
  ivec2 low = ivec2(floor(at)), high = min(low + 1, ivec2(size) - 1);
  vec2 part = at - vec2(low);
  vec2 above = mix(texelFetch(coefficients, low, 0).xy, texelFetch(coefficients, ivec2(high.x, low.y), 0).xy, part.x);
  vec2 below = mix(texelFetch(coefficients, ivec2(low.x, high.y), 0).xy, texelFetch(coefficients, high, 0).xy, part.x);
  return mix(above, below, part.y);
}

bool isLifted(int row) { // anywhere
  int rows = textureSize(coefficients, 0).y;
  return texelFetch(coefficients, ivec2(0, row * rows / area.w), 0).z * strength < ${floats(-LIFTED)};
}

int stepTo(int difference) { return abs(difference) <= ${FINE} ? difference : 0; }

ivec3 alike(ivec3 difference) { // of chroma, 1; zeros where they are not alike
  bool near = all(lessThanEqual(abs(difference), ivec3(${(LUMA_GATE * INNER_WHITE) / 255}, gate, gate)));
  return near ? ivec3(difference.yz, 1) : ivec3(0);
}

vec3 cleanup(ivec2 here, float ofLuma, float ofChroma) { // what is added after the gain
  ivec4 own = texelFetch(codes, here, 0);
  int steps = 0, most = ${FINE * ((LUMA_UNIT - 1) >> 1)};
  ${LUMA_TAPS.map(([, , weight], i) => `steps += stepTo(texelFetch(codes, here + lumaTaps[${i}], 0).x - own.x) * ${weight};`).join("\n  ")}
  vec3 change = vec3(float(clamp(steps, -most, most)) * ofLuma / ${floats(255 * FINE * LUMA_UNIT)});
  ivec3 sum = ivec3(0, 0, 1);
  ${FULL_CHROMA_TAPS.map((_, i) => `sum += alike(texelFetch(codes, here + chromaTaps[${i}], 0).yzw - own.yzw);`).join("\n  ")}
  float clean = clamp(2.0 * (ofChroma - 1.0), 0.0, 1.0) * ofChroma;
  vec2 chroma = clean / ${floats(INNER_WHITE)} * vec2(sum.xy) / float(sum.z);
  return change + vec3(${floats(YCBCR.r_cr)} * chroma.y, dot(vec2(${floats(YCBCR.g_cb, YCBCR.g_cr)}), chroma),
    ${floats(YCBCR.b_cb)} * chroma.x);
}

void main() {
  vec2 here = gl_FragCoord.xy;
  if (canvas) here.y = target.y - here.y;
  vec2 place = vec2(window.xy) + here * vec2(window.zw) / target; // in the picture, pixels' centres at halves
  vec4 pixel = at(place);
  vec2 inside = place - vec2(area.xy), relative = inside / vec2(area.zw);
  bool outside = any(lessThan(inside, vec2(0.0))) || any(greaterThan(relative, vec2(1.0)));
  float luma = dot(pixel.rgb, vec3(${LUMA_WEIGHTS.join(", ")}));
  float peak = max(max(pixel.r, pixel.g), pixel.b);
  vec2 line = outside ? vec2(0.0) : interpolated(relative) * strength;
  float light = clamp(line.x * luma + line.y, lowest, 0.0); // log2
  result = lightMap ? vec4(vec3(exp2(light)), 1.0) : pixel;
  if (lightMap || light == 0.0) return;
  float square = exp2(2.0 * light), rest = 1.0 - square;
  float ofLuma = inversesqrt(square + rest * luma * luma), ofPeak = inversesqrt(square + rest * peak * peak);
  float both = ofLuma * ofPeak, high = peak + 1e-12;
  float ofChroma = square * both * both * (high + luma) / (high * ofPeak + luma * ofLuma);
  vec3 relit = pixel.rgb * ofChroma + luma * (ofLuma - ofChroma);
  if (isLifted(int(inside.y))) relit = max(relit + cleanup(ivec2(here) + ${REACH}, ofLuma, ofChroma), pixel.rgb);
  float top = peak < 1.0 ? 254.0 : 255.0; // what was below the maximum stays below it
  result.rgb = min(floor(relit * 255.0 + 0.5), top) / 255.0;
}`;

/**
 * A picture in the graphics memory.
 * @typedef {object} Source
 * @property {WebGLTexture} texture
 * @property {Size} size
 * @property {boolean} mipmaps
 */

/** Shaders on one canvas that is nowhere to be seen. */
export class Gpu {
  /** Raises an Error where there is no WebGL2. */
  constructor() {
    this.canvas = new OffscreenCanvas(1, 1);
    const gl = this.canvas.getContext("webgl2", {
      alpha: true,
      premultipliedAlpha: false,
      antialias: false,
      depth: false,
      powerPreference: "high-performance",
    });
    if (!gl) throw new Error("this browser has no WebGL2, which the page draws with");
    this.gl = gl;
    this.longest = Math.min(gl.getParameter(gl.MAX_TEXTURE_SIZE), gl.getParameter(gl.MAX_RENDERBUFFER_SIZE));
    this.shrinking = program(gl, SHRINK);
    this.halving = program(gl, HALVE);
    this.lines = program(gl, LINES);
    this.blocks = program(gl, BLOCKS);
    this.codes = program(gl, CODES);
    this.gain = program(gl, GAIN);
    this.buffer = gl.createFramebuffer();
    this.halfBuffer = gl.createFramebuffer();
    this.drawn = gl.createTexture(); // what the buffer draws to
    this.maps = gl.createTexture();
    this.compared = { buffer: gl.createFramebuffer(), texture: gl.createTexture(), size: { height: 0, width: 0 } };
    this.floor = this.darkest = this.gate = 0;
    /** @type {Size} */
    this.drawnSize = { height: 0, width: 0 };
    gl.disable(gl.DITHER);
    gl.bindVertexArray(gl.createVertexArray());
    gl.pixelStorei(gl.PACK_ALIGNMENT, 1);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    this.#setComparedSize({ height: 1, width: 1 }); // where nothing is lifted it stays so
  }

  /**
   * Upload a picture, into the memory of another one if that is given.
   * @param {ImageBitmap} bitmap
   * @param {{mipmaps?: boolean, into?: Source | null}} [options]
   * @returns {Source}
   */
  upload(bitmap, { mipmaps = true, into = null } = {}) {
    const { gl } = this;
    const size = { height: bitmap.height, width: bitmap.width };
    const texture = into?.texture ?? gl.createTexture();
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    if (into && into.size.height === size.height && into.size.width === size.width) {
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
    } else {
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, size.width, size.height, 0, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
    }
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, mipmaps ? gl.LINEAR_MIPMAP_LINEAR : gl.LINEAR);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.LINEAR);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    if (mipmaps) gl.generateMipmap(gl.TEXTURE_2D);
    return { texture, size, mipmaps };
  }

  /** @param {Source} source */
  free(source) {
    this.gl.deleteTexture(source.texture);
  }

  /**
   * Shrink an area of the picture.
   * @param {Source} source
   * @param {Area} area
   * @param {Size} size
   * @param {boolean} weighted by what is seen of the pixels
   * @returns {Uint8Array} RGBA; without `weighted`, alpha is the least alpha in each area
   */
  shrink(source, area, size, weighted) {
    const { gl } = this;
    const height = area.bottom - area.top;
    const width = area.right - area.left;
    const factor = halved({ height, width }, size);
    if (factor > 1 && !weighted) {
      const half = this.#halve(source, area);
      const samples = this.shrink(half, { top: 0, left: 0, bottom: height / 2, right: width / 2 }, size, false);
      this.free(half);
      return samples;
    }
    const at = this.#use(this.shrinking, source);
    gl.uniform4i(at("area"), area.left, area.top, width, height);
    gl.uniform2i(at("size"), size.width, size.height);
    gl.uniform1i(at("block"), factor);
    gl.uniform1i(at("weighted"), weighted ? 1 : 0);
    gl.uniform1i(at("enlarging"), size.height > height || size.width > width ? 1 : 0);
    return this.#drawAndRead(size);
  }

  /**
   * @param {Source} source
   * @param {Area} area of even sides
   * @returns {Source}
   */
  #halve(source, area) {
    const { gl } = this;
    const size = { height: (area.bottom - area.top) / 2, width: (area.right - area.left) / 2 };
    const texture = gl.createTexture();
    gl.activeTexture(gl.TEXTURE2);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA8, size.width, size.height);
    const at = this.#use(this.halving, source);
    gl.uniform2i(at("corner"), area.left, area.top);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.halfBuffer);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
    this.#draw(size);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, null, 0);
    return { texture, size, mipmaps: false };
  }

  /**
   * @param {Source} source
   * @returns {ReadLines}
   */
  reader(source) {
    return ({ columns, backwards, from, count, start, stop, step }) => {
      const { gl } = this;
      const at = this.#use(this.lines, source);
      gl.uniform2i(at("full"), source.size.width, source.size.height);
      gl.uniform1i(at("columns"), columns ? 1 : 0);
      gl.uniform1i(at("backwards"), backwards ? 1 : 0);
      gl.uniform1i(at("from"), from);
      gl.uniform1i(at("start"), start);
      gl.uniform1i(at("step"), step);
      return this.#drawAndRead({ height: count, width: Math.ceil((stop - start) / step) });
    };
  }

  /**
   * @param {Source} source
   * @param {Area} area
   * @returns {ReadBlocks}
   */
  blockReader(source, area) {
    return (tops, lefts, side) => {
      const { gl } = this;
      const at = this.#use(this.blocks, source);
      gl.uniform4i(at("area"), area.left, area.top, area.right - area.left, area.bottom - area.top);
      gl.uniform1iv(at("tops"), tops);
      gl.uniform1iv(at("lefts"), lefts);
      gl.uniform1i(at("side"), side);
      return this.#drawAndRead({ height: tops.length * side, width: lefts.length * side });
    };
  }

  /**
   * Set what the next pictures are relighted with.
   * @param {Coefficients} coefficients
   * @param {number} noise of chroma, of full scale
   */
  setCoefficients(coefficients, noise) {
    const { gl } = this;
    const { size, slope, offset, floor } = coefficients;
    const darkest = darkestOfRows(coefficients);
    const all = new Float32Array(4 * slope.length);
    for (let i = 0; i < slope.length; i++) all.set([slope[i], offset[i], darkest[Math.floor(i / size.width)]], 4 * i);
    this.floor = floor;
    this.darkest = Math.min(...darkest);
    this.gate = chromaGate(noise);
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, this.maps);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, size.width, size.height, 0, gl.RGBA, gl.FLOAT, all);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  }

  /**
   * Draw the whole relighted picture at a size that is seen.
   * @param {Source} source
   * @param {Area} area
   * @param {Size} size
   * @param {{strength: number, lightMap?: boolean}} look
   * @returns {ImageBitmap}
   */
  draw(source, area, size, { strength, lightMap = false }) {
    this.canvas.width = size.width;
    this.canvas.height = size.height;
    const window = { top: 0, left: 0, bottom: source.size.height, right: source.size.width };
    this.#setGain(source, area, window, size, { strength, lightMap, canvas: true });
    this.gl.bindFramebuffer(this.gl.FRAMEBUFFER, null);
    this.#draw(size);
    return this.canvas.transferToImageBitmap();
  }

  /**
   * Relight a window of the picture, pixel by pixel.
   * @param {Source} source
   * @param {Area} area
   * @param {Area} window
   * @param {number} strength
   * @returns {Uint8Array} RGBA
   */
  relight(source, area, window, strength) {
    const size = { height: window.bottom - window.top, width: window.right - window.left };
    this.#setGain(source, area, window, size, { strength, lightMap: false, canvas: false });
    return this.#drawAndRead(size);
  }

  /**
   * @param {Source} source
   * @param {Area} area
   * @param {Area} window
   * @param {Size} size
   * @param {{strength: number, lightMap: boolean, canvas: boolean}} look
   */
  #setGain(source, area, window, size, { strength, lightMap, canvas }) {
    const { gl } = this;
    if (!lightMap && this.darkest * strength < -LIFTED) this.#drawCodes(source, area, window, size);
    const at = this.#useWindow(this.gain, source, area, window, size);
    for (const [name, taps] of /** @type {const} */ ([["lumaTaps", LUMA_TAPS], ["chromaTaps", FULL_CHROMA_TAPS]])) {
      const scale = [size.width / (window.right - window.left), size.height / (window.bottom - window.top)];
      gl.uniform2iv(at(name), taps.flatMap(([dy, dx]) => [Math.round(dx * scale[0]), Math.round(dy * scale[1])]));
    }
    gl.uniform1i(at("coefficients"), 1);
    gl.uniform1i(at("codes"), 3);
    gl.uniform1f(at("strength"), strength);
    gl.uniform1f(at("lowest"), this.floor);
    gl.uniform1i(at("gate"), this.gate);
    gl.uniform1i(at("lightMap"), lightMap ? 1 : 0);
    gl.uniform1i(at("canvas"), canvas ? 1 : 0);
  }

  /**
   * Draw what the window's pixels are compared by.
   * @param {Source} source
   * @param {Area} area
   * @param {Area} window
   * @param {Size} size
   */
  #drawCodes(source, area, window, size) {
    const { gl } = this;
    const padded = { height: size.height + 2 * REACH, width: size.width + 2 * REACH };
    this.#useWindow(this.codes, source, area, window, size);
    this.#setComparedSize(padded);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.compared.buffer);
    this.#draw(padded);
  }

  /** @param {Size} size */
  #setComparedSize(size) {
    const { gl, compared } = this;
    if (size.height === compared.size.height && size.width === compared.size.width) return;
    gl.activeTexture(gl.TEXTURE3);
    gl.bindTexture(gl.TEXTURE_2D, compared.texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA16I, size.width, size.height, 0, gl.RGBA_INTEGER, gl.SHORT, null);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.bindFramebuffer(gl.FRAMEBUFFER, compared.buffer);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, compared.texture, 0);
    compared.size = size;
  }

  /**
   * @param {WebGLProgram} program
   * @param {Source} source
   * @param {Area} area
   * @param {Area} window
   * @param {Size} size
   */
  #useWindow(program, source, area, window, size) {
    const { gl } = this;
    const at = this.#use(program, source);
    const [height, width] = [window.bottom - window.top, window.right - window.left];
    gl.uniform4i(at("area"), area.left, area.top, area.right - area.left, area.bottom - area.top);
    gl.uniform4i(at("window"), window.left, window.top, width, height);
    gl.uniform2f(at("target"), size.width, size.height);
    gl.uniform1i(at("shrunk"), size.height !== height || size.width !== width ? 1 : 0);
    return at;
  }

  /**
   * @param {WebGLProgram} program
   * @param {Source} source
   * @returns {(name: string) => WebGLUniformLocation | null}
   */
  #use(program, source) {
    const { gl } = this;
    if (gl.isContextLost()) throw new Error("the browser took the graphics away; load the page again");
    gl.useProgram(program);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, source.texture);
    gl.uniform1i(gl.getUniformLocation(program, "source"), 0);
    return (name) => gl.getUniformLocation(program, name);
  }

  /** @param {Size} size */
  #draw(size) {
    this.gl.viewport(0, 0, size.width, size.height);
    this.gl.drawArrays(this.gl.TRIANGLES, 0, 3);
  }

  /**
   * @param {Size} size
   * @returns {Uint8Array}
   */
  #drawAndRead(size) {
    const { gl } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.buffer);
    if (size.height !== this.drawnSize.height || size.width !== this.drawnSize.width) {
      gl.activeTexture(gl.TEXTURE2);
      gl.bindTexture(gl.TEXTURE_2D, this.drawn);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, size.width, size.height, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
      gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.drawn, 0);
      this.drawnSize = size;
    }
    this.#draw(size);
    const samples = new Uint8Array(size.height * size.width * 4);
    gl.readPixels(0, 0, size.width, size.height, gl.RGBA, gl.UNSIGNED_BYTE, samples);
    return samples;
  }
}

/**
 * By how much Python's `shrink` halves a picture before it averages over areas; which pixels fall into which area
 * depends on it.
 * @param {Size} picture
 * @param {Size} goal
 */
function halved({ height, width }, goal) {
  let factor = 1;
  while (height % 2 === 0 && width % 2 === 0 && height >= 2 * goal.height && width >= 2 * goal.width) {
    [height, width, factor] = [height / 2, width / 2, factor * 2];
  }
  return factor;
}

/**
 * @param {WebGL2RenderingContext} gl
 * @param {string} fragment
 */
function program(gl, fragment) {
  const made = gl.createProgram();
  for (const [kind, text] of /** @type {[number, string][]} */ ([[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, fragment]])) {
    const shader = gl.createShader(kind);
    if (!shader) throw new Error("the browser took the graphics away; load the page again");
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS) && !gl.isContextLost()) {
    const logs = (gl.getAttachedShaders(made) ?? []).map((shader) => gl.getShaderInfoLog(shader)).join(" ");
    throw new Error(`the browser cannot draw with WebGL2: ${gl.getProgramInfoLog(made)} ${logs}`);
  }
  return made;
}
