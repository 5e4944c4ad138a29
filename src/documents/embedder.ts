/** What turns texts into vectors, so that near in meaning is near in direction. */
export interface Embedder {
  /** The name of the model. Vectors of different models are not compared. */
  readonly model: string;
  /** One vector of length 1 for each text, in order, all with the same number of dimensions. STORE_UNAVAILABLE when it can not. */
  embed(texts: readonly string[], signal: AbortSignal): Promise<Float32Array[]>;
}
