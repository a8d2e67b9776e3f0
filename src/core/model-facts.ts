/** Facts of a model's `config.json` that decide whether a layout is possible. */
export interface ModelFacts {
	/** Transformer layers of the text model. */
	readonly layers: number;
	readonly attentionHeads: number;
	readonly keyValueHeads: number;
	/** Heads of other kinds, which tensor parallelism deals out as well: `value heads of the linear attention`. @default none */
	readonly otherHeads?: readonly OtherHeads[] | undefined;
	/** Routed experts per MoE layer; 0 for a dense model. */
	readonly experts: number;
	/** Whether `lm_head` and the embedding are one parameter. */
	readonly tiedEmbeddings: boolean;
}

/** Heads of one kind. */
export interface OtherHeads {
	readonly count: number;
	/** For people. */
	readonly what: string;
}
