// Runs on the audio thread: hands on what the microphone gives, in pieces of about 40 ms.

class Recorder extends AudioWorkletProcessor {
  #piece = new Float32Array(2048);
  #filled = 0;

  process([[block]]) {
    if (!block) return true; // nothing is connected yet
    this.#piece.set(block, this.#filled);
    this.#filled += block.length;
    if (this.#filled + block.length > this.#piece.length) {
      this.port.postMessage(this.#piece.slice(0, this.#filled));
      this.#filled = 0;
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
