// Everything that is done at full size, in WebGL2 shaders: shrinking to the proxy, reading the lines in which bars are
// looked for, and the gain (runtime/light/gain.py has the formula and its reasons).
//
// Row 0 of every texture and frame buffer is the picture's top row; only the canvas has it at the bottom.

import { LUMA_WEIGHTS } from "./light/constants.js";

/** @typedef {import("./light/proxy.js").Size} Size */
/** @typedef {import("./light/bars.js").Area} Area */
/** @typedef {import("./light/bars.js").ReadLines} ReadLines */
/** @typedef {import("./light/light_map.js").Coefficients} Coefficients */

const VERTEX = `#version 300 es
void main() { // one triangle that covers everything
  gl_Position = vec4(float(gl_VertexID / 2) * 4.0 - 1.0, float(gl_VertexID % 2) * 4.0 - 1.0, 0.0, 1.0);
}`;

const HEAD = `#version 300 es
precision highp float;
precision highp int;
uniform highp sampler2D source;
out vec4 result;
`;

// Averages over areas; alpha: the least alpha, or where \`weighted\` the mean, which colours are weighted by.
const SHRINK = `${HEAD}
uniform ivec4 area; // left, top, width, height
uniform ivec2 size; // of the result
uniform int block; // side of the squares that are averaged first
uniform bool weighted, enlarging;

vec4 at(ivec2 place) { return texelFetch(source, area.xy + clamp(place, ivec2(0), area.zw - 1), 0); }

void main() {
  ivec2 cell = ivec2(gl_FragCoord.xy);
  vec2 blocks = vec2(area.zw / block), scale = blocks / vec2(size);
  vec3 colour = vec3(0.0);
  float alpha = 0.0, least = 1.0, seen = 0.0, covered = 0.0;
  vec2 first = vec2(cell) * scale, last = min(vec2(cell + 1) * scale, blocks);
  ivec2 start = ivec2(floor(first)), end = ivec2(ceil(last));
  if (enlarging) { // interpolated, as the few pictures smaller than the network's least size are
    vec2 middle = clamp((vec2(cell) + 0.5) * scale - 0.5, vec2(0.0), vec2(area.zw) - 1.0);
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
const LINES = `${HEAD}
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

// The tone curve f(x) = x ((1 - x^2) L^2 + x^2)^(-1/2) for luma and for the brightest channel; chroma is scaled by the
// slope between the two.
const GAIN = `${HEAD}
uniform highp sampler2D coefficients; // slope, offset
uniform ivec4 area, window; // left, top, width, height: of the picture between bars; of what is drawn
uniform vec2 target; // size of what is drawn to
uniform float strength, lowest;
uniform bool shrunk, canvas, lightMap;

vec2 interpolated(vec2 place) { // place in [0, 1]
  vec2 size = vec2(textureSize(coefficients, 0));
  vec2 at = clamp(place * size - 0.5, vec2(0.0), size - 1.0);
  ivec2 low = ivec2(floor(at)), high = min(low + 1, ivec2(size) - 1);
  vec2 part = at - vec2(low);
  vec2 above = mix(texelFetch(coefficients, low, 0).xy, texelFetch(coefficients, ivec2(high.x, low.y), 0).xy, part.x);
  vec2 below = mix(texelFetch(coefficients, ivec2(low.x, high.y), 0).xy, texelFetch(coefficients, high, 0).xy, part.x);
  return mix(above, below, part.y);
}

void main() {
  vec2 here = gl_FragCoord.xy;
  if (canvas) here.y = target.y - here.y;
  vec2 place = vec2(window.xy) + here * vec2(window.zw) / target; // in the picture, pixels' centres at halves
  vec4 pixel = shrunk ? texture(source, place / vec2(textureSize(source, 0))) : texelFetch(source, ivec2(place), 0);
  vec2 inside = (place - vec2(area.xy)) / vec2(area.zw);
  bool outside = any(lessThan(inside, vec2(0.0))) || any(greaterThan(inside, vec2(1.0)));
  float luma = dot(pixel.rgb, vec3(${LUMA_WEIGHTS.join(", ")}));
  float peak = max(max(pixel.r, pixel.g), pixel.b);
  vec2 line = outside ? vec2(0.0) : interpolated(inside) * strength;
  float light = clamp(line.x * luma + line.y, lowest, 0.0); // log2
  if (lightMap) {
    result = vec4(vec3(exp2(light)), 1.0);
    return;
  }
  float square = exp2(2.0 * light), rest = 1.0 - square;
  float ofLuma = inversesqrt(square + rest * luma * luma), ofPeak = inversesqrt(square + rest * peak * peak);
  float both = ofLuma * ofPeak, high = peak + 1e-12;
  float ofChroma = square * both * both * (high + luma) / (high * ofPeak + luma * ofLuma);
  vec3 relit = pixel.rgb * ofChroma + luma * (ofLuma - ofChroma);
  float top = peak < 1.0 ? 254.0 : 255.0; // what was below the maximum stays below it
  result = vec4(light == 0.0 ? pixel.rgb : min(floor(relit * 255.0 + 0.5), top) / 255.0, pixel.a);
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
    this.lines = program(gl, LINES);
    this.gain = program(gl, GAIN);
    this.buffer = gl.createFramebuffer();
    this.drawn = gl.createTexture(); // what the buffer draws to
    this.maps = gl.createTexture();
    /** @type {Size} */
    this.drawnSize = { height: 0, width: 0 };
    gl.disable(gl.DITHER);
    gl.bindVertexArray(gl.createVertexArray());
    gl.pixelStorei(gl.PACK_ALIGNMENT, 1);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
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
    const at = this.#use(this.shrinking, source);
    gl.uniform4i(at("area"), area.left, area.top, width, height);
    gl.uniform2i(at("size"), size.width, size.height);
    gl.uniform1i(at("block"), halved({ height, width }, size));
    gl.uniform1i(at("weighted"), weighted ? 1 : 0);
    gl.uniform1i(at("enlarging"), size.height > height || size.width > width ? 1 : 0);
    return this.#drawAndRead(size);
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
   * Set what the next pictures are relighted with.
   * @param {Coefficients} coefficients
   */
  setCoefficients({ size, slope, offset, floor }) {
    const { gl } = this;
    const both = new Float32Array(2 * slope.length);
    for (let i = 0; i < slope.length; i++) {
      both[2 * i] = slope[i];
      both[2 * i + 1] = offset[i];
    }
    this.floor = floor;
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, this.maps);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RG32F, size.width, size.height, 0, gl.RG, gl.FLOAT, both);
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
    this.#setGain(source, area, window, size, strength, lightMap, true);
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
    this.#setGain(source, area, window, size, strength, false, false);
    return this.#drawAndRead(size);
  }

  /**
   * @param {Source} source
   * @param {Area} area
   * @param {Area} window
   * @param {Size} size
   * @param {number} strength
   * @param {boolean} lightMap
   * @param {boolean} canvas
   */
  #setGain(source, area, window, size, strength, lightMap, canvas) {
    const { gl } = this;
    const at = this.#use(this.gain, source);
    gl.uniform1i(at("coefficients"), 1);
    gl.uniform4i(at("area"), area.left, area.top, area.right - area.left, area.bottom - area.top);
    gl.uniform4i(at("window"), window.left, window.top, window.right - window.left, window.bottom - window.top);
    gl.uniform2f(at("target"), size.width, size.height);
    gl.uniform1f(at("strength"), strength);
    gl.uniform1f(at("lowest"), this.floor ?? 0);
    gl.uniform1i(at("lightMap"), lightMap ? 1 : 0);
    gl.uniform1i(at("canvas"), canvas ? 1 : 0);
    gl.uniform1i(at("shrunk"), canvas ? 1 : 0);
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
