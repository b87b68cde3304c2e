// Sound as the model wants it: mono, 16 kHz, floats in [-1, 1]; out of files, or of the microphone.

import { Refusal } from "./model-file.js";

export const SAMPLE_RATE = 16_000;
export const LONGEST = 60; // seconds: what export verifies, and what one run of the model holds in memory
const LARGEST = 200e6; // bytes of a file, so that a wrong one is not decoded for minutes

/** Decode a file. file: a File or Blob; name: what errors call it. */
export async function decodeFile(file, name) {
  if (file.size > LARGEST) throw new Refusal(`${name} is too large: this page takes clips of up to a minute.`);
  return decode(await file.arrayBuffer(), name);
}

/** Decode the bytes of a file; they are of no use afterwards. */
async function decode(bytes, name) {
  const context = new OfflineAudioContext(1, 1, SAMPLE_RATE); // it resamples what it decodes
  let sound;
  try {
    sound = await context.decodeAudioData(bytes);
  } catch {
    throw new Refusal(`${name} is no sound that this browser can read: give wav, flac, mp3 or ogg.`);
  }
  if (sound.duration > LONGEST) {
    throw new Refusal(`${name} lasts ${sound.duration.toFixed(1)} s: this page takes clips of up to a minute.`);
  }
  const mono = average(Array.from({ length: sound.numberOfChannels }, (_, i) => sound.getChannelData(i)));
  if (!mono.length) throw new Refusal(`${name} is empty: record it again, or leave it out.`);
  if (!mono.every(Number.isFinite)) throw new Refusal(`${name} holds samples that are no numbers: repair it.`);
  return mono.map((sample) => Math.max(-1, Math.min(1, sample)));
}

function average(channels) {
  const mono = new Float32Array(channels[0].length);
  for (const channel of channels) channel.forEach((sample, i) => (mono[i] += sample / channels.length));
  return mono;
}

/** Resample mono samples to 16 kHz, by the same filter that files go through. */
export async function resample(samples, rate) {
  return rate === SAMPLE_RATE ? samples : decode(wav(samples, rate), "The recording");
}

/** Write a wav file of floats. */
function wav(samples, rate) {
  const bytes = new ArrayBuffer(44 + 4 * samples.length);
  const view = new DataView(bytes);
  const text = (at, letters) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, bytes.byteLength - 8, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 3, true); // floats
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 4 * rate, true);
  view.setUint16(32, 4, true);
  view.setUint16(34, 32, true);
  text(36, "data");
  view.setUint32(40, 4 * samples.length, true);
  samples.forEach((sample, i) => view.setFloat32(44 + 4 * i, sample, true));
  return bytes;
}

/** The microphone, while it is open: everything heard so far, at the rate of the device. */
export class Microphone {
  #samples;
  #context;
  #stream;

  constructor(context, stream) {
    this.#context = context;
    this.#stream = stream;
    this.#samples = new Float32Array(LONGEST * context.sampleRate);
    this.rate = context.sampleRate;
    this.length = 0;
  }

  static async open() {
    if (!navigator.mediaDevices) throw new Refusal("Browsers give a microphone only to https and to localhost.");
    const stream = await permitted();
    const context = new AudioContext();
    await context.audioWorklet.addModule(new URL("recorder.js", import.meta.url));
    const microphone = new Microphone(context, stream);
    const mono = { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" };
    const recorder = new AudioWorkletNode(context, "recorder", mono);
    recorder.port.onmessage = ({ data }) => microphone.#hear(data);
    context.createMediaStreamSource(stream).connect(recorder);
    await context.resume();
    return microphone;
  }

  /** Whether no more is recorded. */
  get isFull() {
    return this.length === this.#samples.length;
  }

  /** Samples from `begin` to `end`, counted from the opening. */
  samples(begin = 0, end = this.length) {
    return this.#samples.slice(begin, end);
  }

  async close() {
    this.#stream.getTracks().forEach((track) => track.stop());
    await this.#context.close();
  }

  #hear(chunk) {
    const heard = chunk.subarray(0, this.#samples.length - this.length);
    this.#samples.set(heard, this.length);
    this.length += heard.length;
  }
}

async function permitted() {
  try {
    return await navigator.mediaDevices.getUserMedia({
      // What helps a telephone call would change what the model hears.
      audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
  } catch (error) {
    if (error.name === "NotAllowedError") {
      throw new Refusal("The microphone was not permitted: allow it for this page in the browser, and try again.");
    }
    if (error.name === "NotFoundError") throw new Refusal("There is no microphone: connect one, or give files.");
    throw new Refusal(`The microphone cannot be used (${error.message}): close what else uses it, and try again.`);
  }
}
