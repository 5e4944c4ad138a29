import { setImmediate as nextTurn } from "node:timers/promises";
import type { Embedder } from "./embedder.ts";
import { isStopWord } from "./stop-words.ts";
import { normalized } from "./vectors.ts";

/** Changes when a text gets another vector than before. */
const model = "local-hash-384-v1";
const dimensions = 384;

/** What each kind of feature counts. There are some six triples of letters for each word. */
const wordWeight = 1;
const stopWordWeight = 0.1;
const pairWeight = 0.5;
const letterWeight = 0.3;

/** Texts embedded before others get a turn: a page of text takes 0.3 ms. */
const textsPerTurn = 16;

/**
 * The embedder that needs no provider: it compares words, pairs of words and parts of words. The same text has the same
 * vector on every machine.
 */
export const localEmbedder: Embedder = {
  model,
  async embed(texts, signal) {
    const vectors: Float32Array[] = [];
    for (const text of texts) {
      vectors.push(embedLocally(text));
      if (vectors.length % textsPerTurn === 0) await nextTurn();
      signal.throwIfAborted();
    }
    return vectors;
  },
};

/** The vector of a text, 384 dimensions, length 1: feature hashing with signs. Pure. */
export function embedLocally(text: string): Float32Array {
  const sums = new Float64Array(dimensions);
  for (const [feature, { weight, count }] of featuresOf(text)) {
    const hash = hashOf(feature);
    const index = (hash >>> 1) % dimensions;
    // The square root, unlike the logarithm, is the same to the last bit everywhere.
    sums[index] = (sums[index] ?? 0) + (hash & 1 ? weight : -weight) * Math.sqrt(count);
  }
  return normalized(sums);
}

interface Feature {
  readonly weight: number;
  count: number;
}

function featuresOf(text: string): Map<string, Feature> {
  const features = new Map<string, Feature>();
  const add = (name: string, weight: number) => {
    const known = features.get(name);
    if (known === undefined) features.set(name, { weight, count: 1 });
    else known.count++;
  };
  const plain = text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  let before: string | undefined;
  for (const [word] of plain.matchAll(/[\p{L}\p{N}]+/gu)) {
    const stop = isStopWord(word);
    add(`w ${word}`, stop ? stopWordWeight : wordWeight);
    if (before !== undefined && !(stop && isStopWord(before))) add(`p ${before} ${word}`, pairWeight);
    if (!stop) for (const letters of triplesOf(word)) add(`l ${letters}`, letterWeight);
    before = word;
  }
  // Nothing but signs: the text as a whole.
  if (features.size === 0) add(`t ${plain.trim()}`, wordWeight);
  return features;
}

function triplesOf(word: string): string[] {
  const letters = ["^", ...Array.from(word), "$"];
  return letters.slice(2).map((letter, index) => `${letters[index]}${letters[index + 1]}${letter}`);
}

/** FNV-1a over UTF-16 code units, its bits mixed once more as in MurmurHash3; 0 to 2^32 - 1. */
function hashOf(text: string): number {
  let hash = 0x81_1c_9d_c5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01_00_01_93);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85_eb_ca_6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2_b2_ae_35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
