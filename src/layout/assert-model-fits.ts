import type { LayoutRules } from "../core/layout.ts";
import type { ModelFacts } from "../core/model-facts.ts";
import { layoutInvalid } from "./invalid.ts";
import type { Parallelism } from "./parallelism.ts";

/**
 * Refuses jobs that the trainer refuses, or cannot run, for this model.
 *
 * @throws {HfStreamDcpError} `LAYOUT_INVALID` with the reason and what to change.
 * @see torchtitan b5bcd76c `models/common/decoder.py`, `models/qwen3_5/model.py`, `models/deepseek_v3/mtp.py`,
 * `update_from_config`;
 * `models/muse_glimmer/parallelize.py`.
 */
export function assertModelFits(
	parallelism: Parallelism,
	rules: LayoutRules,
	facts: ModelFacts,
): void {
	if (rules.kind === "fsdp") assertFsdpOnly(parallelism);
	else assertTorchtitanFits(parallelism, rules, facts);
}

function assertFsdpOnly(parallelism: Parallelism): void {
	for (const axis of ["tp", "ep", "etp", "pp"] as const) {
		const degree = parallelism[axis];
		if (degree === 1) continue;
		throw layoutInvalid(
			`${axis} ${degree}: how this trainer cuts its modules by ${axis} is not known; only FSDP2 and HSDP are`,
			`Leave ${axis} at 1, give the trainer's own layout (--like, --layout), or choose a torchtitan target.`,
			{ axis, degree },
		);
	}
}

function assertTorchtitanFits(
	{ tp, pp, cp, ep, etp }: Parallelism,
	rules: LayoutRules,
	{ attentionHeads, keyValueHeads, otherHeads = [], experts, tiedEmbeddings }: ModelFacts,
): void {
	for (const { count, what } of [
		{ count: attentionHeads, what: "attention heads" },
		{ count: keyValueHeads, what: "key-value heads" },
		...otherHeads,
	]) {
		if (count % tp === 0) continue;
		throw layoutInvalid(
			`tp ${tp} does not divide the ${count} ${what} of the model`,
			`Choose a tp that divides ${count}.`,
			{ tp, heads: count },
		);
	}
	if (pp > 1 && tiedEmbeddings) {
		throw layoutInvalid(
			`pp ${pp}: the model's embedding and head are one parameter, which cannot lie on two pipeline stages`,
			"Use pp 1 for this model.",
			{ pp },
		);
	}
	if (rules.predictsTokens === true && (pp > 1 || cp > 1)) {
		throw layoutInvalid(
			`${pp > 1 ? `pp ${pp}` : `cp ${cp}`}: torchtitan has neither pp nor cp for a model with multi-token prediction`,
			"Leave pp and cp at 1, or leave out +mtp.",
			{ pp, cp },
		);
	}
	if (ep > 1 && experts === 0) {
		throw layoutInvalid(`ep ${ep}: the model has no experts`, "Leave ep at 1 for this model.", {
			ep,
		});
	}
	if (experts % ep !== 0) {
		throw layoutInvalid(
			`ep ${ep} does not divide the model's ${experts} experts`,
			`Choose an ep that divides ${experts}.`,
			{ ep, experts },
		);
	}
	if (etp > 1 && !rules.expertTensorParallel) {
		throw layoutInvalid(
			`etp ${etp}: this release of the trainer has no expert tensor parallelism; torchtitan removed it on 2026-04-30`,
			"Leave etp at 1, or choose the key profile of an earlier release.",
			{ etp },
		);
	}
}
