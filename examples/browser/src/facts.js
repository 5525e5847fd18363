// What an exported file tells about itself. onnxruntime-web does not hand the metadata over, so it is read from the file:
// an ONNX file is a protocol buffer whose field 14 holds pairs of a key (field 1) and JSON text (field 2).

/** Return the metadata of an ONNX file: key -> value. */
export function readFacts(bytes) {
  const facts = {};
  for (const [field, content] of fields(bytes)) {
    if (field !== 14) continue;
    const pair = Object.fromEntries([...fields(content)].map(([number, text]) => [number, new TextDecoder().decode(text)]));
    facts[pair[1]] = JSON.parse(pair[2]);
  }
  if (facts.format !== 1) throw new Error("this is no file that asterism exported, or one of a newer version");
  return facts;
}

/** Yield the length-delimited fields of a message; all others are passed over. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const kind = key % 8;
    if (kind === 0) varint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else if (kind === 2) {
      const length = varint();
      yield [Math.floor(key / 8), bytes.subarray(at, at + length)];
      at += length;
    } else throw new Error("this is no ONNX file");
  }
}
