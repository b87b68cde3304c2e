// What a model file says about itself: a JSON object under the key `earkit` of its ONNX metadata.
// onnxruntime-web does not hand metadata out, so the two fields of the protobuf that lead there are read here.

/** An error whose message is a sentence for the reader of the page. */
export class Refusal extends Error {}

const SCHEMA = 1;
const METADATA_PROPS = 14; // of ModelProto
const [KEY, VALUE] = [1, 2]; // of StringStringEntryProto

/** Read and check the description of an ONNX file. bytes: Uint8Array; name: for the sentence. */
export function describe(bytes, name) {
  if (String.fromCharCode(...bytes.subarray(4, 8)) === "ORTM") {
    throw new Refusal(`${name} is of onnxruntime's own format: choose the .onnx file that it was made of.`);
  }
  const info = parse(metadata(bytes, name).get("earkit"), name);
  if (info.schema !== SCHEMA) {
    throw new Refusal(`${name} has schema ${info.schema}, this page reads ${SCHEMA}: export it again.`);
  }
  if (info.stream) {
    throw new Refusal(`${name} is a step graph, for streams: export it without --streaming.`);
  }
  if (info.samples) {
    throw new Refusal(
      `${name} takes ${info.samples} samples and nothing else, for phones: choose the file that it was made of, ` +
        "without -fixed in its name.",
    );
  }
  if (!isWhole(info)) {
    throw new Refusal(`${name} is damaged, its description lacks what it should say: export it again.`);
  }
  if (!info.outputs.includes("embedding")) throw new Refusal(`${name} gives no embedding: export it with one.`);
  return info;
}

function isWhole(info) {
  const counts = [info.dim, info.hop, info.context, info.lookahead, info.parameters];
  const tokens = !info.outputs?.includes?.("tokens") || Number.isInteger(info.tokens?.size);
  return Array.isArray(info.outputs) && tokens && counts.every(Number.isInteger) && info.sample_rate === 16_000;
}

function parse(text, name) {
  if (text === undefined) {
    throw new Refusal(`${name} is no model file of earkit: export one with kit export --web.`);
  }
  try {
    return Object(JSON.parse(text));
  } catch {
    throw new Refusal(`${name} is damaged, its description cannot be read: export it again.`);
  }
}

function metadata(bytes, name) {
  const found = new Map();
  const text = new TextDecoder();
  try {
    for (const [field, entry] of parts(bytes)) {
      if (field !== METADATA_PROPS) continue;
      const pair = new Map(parts(entry));
      found.set(text.decode(pair.get(KEY)), text.decode(pair.get(VALUE)));
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new Refusal(`${name} is no ONNX file, or a damaged one: choose what kit export wrote.`);
  }
  return found;
}

/** Give number and content of each length-delimited field of a protobuf message; skip all others. */
function* parts(bytes) {
  let at = 0;
  const advance = (count) => {
    if (at + count > bytes.length) throw new RangeError("cut short");
    at += count;
  };
  const varint = () => {
    for (let value = 0, factor = 1; factor < 2 ** 70; factor *= 128) {
      advance(1);
      const byte = bytes[at - 1];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
    throw new RangeError("no number");
  };
  while (at < bytes.length) {
    const tag = varint();
    const [field, type] = [Math.floor(tag / 8), tag % 8];
    if (type === 0) varint();
    else if (type === 1) advance(8);
    else if (type === 5) advance(4);
    else if (type === 2) {
      const length = varint();
      advance(length);
      yield [field, bytes.subarray(at - length, at)];
    } else throw new RangeError("no field");
  }
}
