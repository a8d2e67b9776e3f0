/** Modules that wrappers insert into names; a trainer may or may not take them out again before it saves. */
const WRAPPERS: ReadonlySet<string> = new Set([
	"_orig_mod",
	"_fsdp_wrapped_module",
	"_checkpoint_wrapped_module",
]);

/** What a part of a training checkpoint is that has one of these names, and is not the model. */
const PARTS: readonly (readonly [reason: string, names: readonly string[]])[] = [
	[
		"state of the optimizer",
		"optim optimizer optimizers optim_state optimizer_state optimizer_states opt_state".split(" "),
	],
	[
		"learning rate schedule",
		"lr_scheduler lr_schedulers scheduler schedulers opt_param_scheduler".split(" "),
	],
	["state of the data loader", "dataloader dataloaders dataloader_state sampler".split(" ")],
	["random state", "rng rng_state rng_states random_state".split(" ")],
	[
		"state of the training loop",
		"train_state training_state trainer progress step global_step iteration epoch grad_scaler scaler args".split(
			" ",
		),
	],
	["averaged weights", "ema ema_model ema_state".split(" ")],
];

const REASONS: ReadonlyMap<string, string> = new Map(
	PARTS.flatMap(([reason, names]) => names.map((name) => [name, reason] as const)),
);

/** Last parts of the names of what optimizers keep for each parameter. */
const OPTIMIZER_TENSORS: ReadonlySet<string> = new Set([
	"exp_avg",
	"exp_avg_sq",
	"max_exp_avg_sq",
	"momentum_buffer",
]);

/** How deep a trainer nests the parts of its checkpoint: `app.optim.state…`. */
const NESTED = 3;

/** The key without what wrappers put into it. */
export function withoutWrappers(key: string): string {
	if (!key.includes("_")) return key;
	return key
		.split(".")
		.filter((segment) => !WRAPPERS.has(segment))
		.join(".");
}

/** Why a key of a training checkpoint is not the model's, or `undefined` when it looks like a parameter of the model. */
export function reasonOfForeign(key: string): string | undefined {
	const segments = key.split(".");
	const last = segments.at(-1) ?? "";
	if (OPTIMIZER_TENSORS.has(last)) return "state of the optimizer";
	if (last.startsWith("_extra_state")) return "extra state of a module";
	for (const segment of segments.slice(0, NESTED)) {
		const reason = REASONS.get(segment);
		if (reason !== undefined) return reason;
	}
	return undefined;
}
