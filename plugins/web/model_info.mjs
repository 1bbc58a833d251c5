// Reads the description inside an ONNX file, as runtime/backends/model_file.py does: the entry `cliplit` of
// ModelProto.metadata_props. Source: the protocol buffer encoding, developers' documentation, "Message Structure".

const METADATA_PROPS = 14;
const PROPERTY = "cliplit";

/** Read what the page must know of a model. Raises an Error for a file that is not an exported model. */
export function modelInfo(data, path) {
  const entries = [...fields(data)].filter(([number]) => number === METADATA_PROPS).map(([, value]) => entry(value));
  const text = Object.fromEntries(entries)[PROPERTY];
  if (text === undefined) throw new Error(`${path}: an ONNX file without cliplit metadata; make one with: cliplit-export CHECKPOINT`);
  const info = JSON.parse(text);
  if (info.colour_order !== "RGB" || info.value_range !== "0..1") {
    throw new Error(`${path}: wants ${info.colour_order} in ${info.value_range}; the page feeds RGB in 0..1`);
  }
  if ((info.kind ?? "light") !== "light") throw new Error(`${path}: a whole-image graph; the page wants the network alone`);
  return {
    name: info.name,
    proxyShortSide: info.proxy_short_side,
    multiple: info.multiple,
    takesMasks: info.takes_masks ?? false,
    shape: info.shape ?? null,
  };
}

function entry(message) {
  const known = new Map(fields(message));
  return [1, 2].map((number) => new TextDecoder().decode(known.get(number) ?? new Uint8Array()));
}

function* fields(data) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = data[at++];
      if (byte === undefined || factor > 2 ** 63) throw new Error("not an ONNX model");
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < data.length) {
    const tag = varint();
    const wire = tag & 7;
    if (wire === 0) varint();
    else if (wire === 1 || wire === 5) at += wire === 1 ? 8 : 4;
    else if (wire === 2) {
      const length = varint();
      if (at + length > data.length) throw new Error("not an ONNX model: a field is longer than the file");
      yield [tag >>> 3, data.subarray(at, at + length)];
      at += length;
    } else throw new Error("not an ONNX model");
  }
}
