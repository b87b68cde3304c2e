// Tokens of sound that is still going on, out of windows that hold all that decides the newest ones.

import { resample, SAMPLE_RATE } from "./sound.js";

/** The tokens of a microphone since it was opened. */
export class LiveTokens {
  /** All so far; */
  tokens = [];
  /** the first so many of them are those of the whole sound, what comes next may change the others. */
  settled = 0;
  #embedder;

  constructor(embedder) {
    this.#embedder = embedder;
  }

  /** Hear what is new. microphone: its `rate`, `length` and `samples(begin, end)`, as of a `Microphone`. */
  async update(microphone) {
    const { hop, context, lookahead } = this.#embedder.info;
    const perFrame = (hop * microphone.rate) / SAMPLE_RATE; // whole for all rates that devices have
    const frames = Math.floor(microphone.length / perFrame);
    if (frames <= this.tokens.length) return;
    const first = Math.max(0, this.settled - Math.ceil(context / hop));
    const heard = microphone.samples(Math.round(first * perFrame), Math.round(frames * perFrame));
    const tokens = await this.#embedder.tokens(await resample(heard, microphone.rate));
    this.tokens.splice(this.settled, Infinity, ...tokens.slice(this.settled - first, frames - first));
    this.settled = Math.max(this.settled, frames - Math.ceil(lookahead / hop));
  }
}
