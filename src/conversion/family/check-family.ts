import { type HfStreamDcpError, isHfStreamDcpError } from "../../core/errors.ts";
import { emitTo } from "../../core/events.ts";
import type { ModelMap, SourceNote } from "../../core/recipe.ts";
import type { OpenedSource } from "../../fetch/open-source.ts";
import { inspectSource } from "../../inspect.ts";
import { createLayout } from "../../layout/create-layout.ts";
import { layoutInvalid } from "../../layout/invalid.ts";
import { resolveParallelism } from "../../layout/parallelism.ts";
import { mapModel } from "../../models/map-model.ts";
import type { ConversionOptions } from "../../options.ts";
import { checkCoverage } from "../../plan/check.ts";
import { type Coverage, coverageOf } from "../../plan/coverage.ts";
import { readFamily } from "./read-family.ts";

/** Which family is checked against which repository, for which target. */
export type CheckFamilyOptions = Pick<ConversionOptions, "repo"> &
	Partial<
		Pick<
			ConversionOptions,
			"revision" | "family" | "target" | "environment" | "connections" | "signal" | "onEvent"
		>
	>;

/** What a family makes of a repository, as far as headers tell: everything but whether the values are in the right order. */
export interface FamilyReport {
	/** Whether nothing is wrong. */
	readonly ok: boolean;
	readonly repo: string;
	readonly commit: string;
	readonly sourceKind: OpenedSource["kind"];
	/** Tensors of the source. */
	readonly sourceTensors: number;
	/** Name of the family; `undefined` when none was found. */
	readonly family: string | undefined;
	/** The one spelling of the target. */
	readonly target: string | undefined;
	/** Keys that the checkpoint would have. */
	readonly targetTensors: number | undefined;
	/** `undefined` when names do not work out. */
	readonly coverage: Coverage | undefined;
	readonly tied: readonly SourceNote[];
	readonly dropped: readonly SourceNote[];
	readonly synthesised: readonly string[];
	/** What is wrong; `code` and `facts` as in `docs/errors.md`. */
	readonly problems: readonly FamilyProblem[];
	/** What the user should know of the source, one sentence each. */
	readonly warnings: readonly string[];
}

/** One kind of thing that is wrong. */
export type FamilyProblem = Pick<HfStreamDcpError, "code" | "message" | "hint" | "facts">;

/**
 * Proves a family against the headers of a repository; no weight byte is fetched. Every source tensor must be used, each element once, or
 * be tied or dropped by a rule; every key made once, with the shape that `config.json` says, and cut by a rule that the target has.
 *
 * @throws {HfStreamDcpError} when the family or the source cannot be read; what is wrong between the two is in the report.
 */
export async function checkFamily(options: CheckFamilyOptions): Promise<FamilyReport> {
	const family = await readFamily(options.family);
	await using opened = await inspectSource({ ...options, onEvent: emitTo(options.onEvent) });
	const { source, kind, warnings } = opened;
	const problems: FamilyProblem[] = [];
	const attempt = <T>(run: () => T): T | undefined => {
		try {
			return run();
		} catch (error) {
			if (!isHfStreamDcpError(error)) throw error;
			const { code, message, hint, facts } = error;
			problems.push({ code, message, hint, facts });
			return undefined;
		}
	};
	const { target } = options;
	const map = attempt(() => mapModel({ source, family, target }));
	if (map !== undefined) {
		attempt(() => checkCoverage(source, map));
		attempt(() => checkLayout(map));
	}
	return {
		ok: problems.length === 0,
		repo: source.repo,
		commit: source.commit,
		sourceKind: kind,
		sourceTensors: source.tensors.length,
		family: map?.family ?? (typeof family === "object" ? family.name : family),
		target: map?.target ?? target,
		targetTensors: map?.recipes.length,
		coverage: map && coverageOf(source, map),
		tied: map?.tied ?? [],
		dropped: map?.dropped ?? [],
		synthesised: map?.synthesised ?? [],
		problems,
		warnings,
	};
}

/** Checks that the target's layout knows every key. */
function checkLayout({ recipes, rules, facts }: ModelMap): void {
	const layout = createLayout({ parallelism: resolveParallelism({}), rules, facts });
	const unknown = recipes.filter(({ fqn, expr }) => {
		try {
			layout.shardsOf(fqn, expr.shape);
			return false;
		} catch (error) {
			if (isHfStreamDcpError(error, "LAYOUT_INVALID")) return true;
			throw error;
		}
	});
	if (unknown.length === 0) return;
	const kinds = new Set(unknown.map(({ fqn }) => fqn.replaceAll(/(?<=\.)\d+(?=\.)/g, "#")));
	throw layoutInvalid(
		`torchtitan's layout has no rule for these keys:\n  ${[...kinds].join("\n  ")}`,
		'If the trainer is not torchtitan, say "layout": "fsdp" in the family; otherwise give its layout (--like, --layout).',
		{ keys: unknown.map(({ fqn }) => fqn) },
	);
}
