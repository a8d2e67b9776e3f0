import { HfStreamDcpError } from "../../core/errors.ts";
import { sourcesOf } from "../../core/expr.ts";
import type { Manifest } from "../../manifest/manifest.ts";
import { nearest } from "../../models/nearest.ts";

/** Names that are told of at most. */
const MAX_NAMES = 5;

/** What a manifest says of a source tensor. */
export interface SourceUse {
	/** Tensors of the checkpoint that are made of it. */
	readonly targets: readonly string[];
	/** Why it is not in the checkpoint, where it was left out by name. */
	readonly dropped: string | undefined;
}

/** What became of source tensor `name`; `undefined` when the source has none of that name. */
export function useOf(manifest: Manifest, name: string): SourceUse | undefined {
	if (!manifest.source.tensors.some((tensor) => tensor.name === name)) return undefined;
	const targets = manifest.tensors.filter(({ recipe }) =>
		sourcesOf(recipe).some((source) => source.name === name),
	);
	return {
		targets: targets.map(({ fqn }) => fqn),
		dropped: manifest.dropped.find((note) => note.name === name)?.reason,
	};
}

/** A name that was not found, and the names that there are. */
export interface UnknownName {
	readonly target: string;
	readonly name: string;
	readonly names: readonly string[];
	/** Of a checkpoint that has one. */
	readonly manifest: Manifest | undefined;
	/** Keys that are no tensors. */
	readonly objects?: readonly string[] | undefined;
}

/** Says that a target has no tensor of this name, and which it may have meant, in the spelling of either side. */
export function unknownTensor({
	target,
	name,
	names,
	manifest,
	objects = [],
}: UnknownName): HfStreamDcpError {
	if (objects.includes(name)) {
		return new HfStreamDcpError(
			"OPTIONS_INVALID",
			`${name} in ${target} is a pickled object, not a tensor`,
			{ hint: "Pickles are not opened: they can run any program.", facts: { name } },
		);
	}
	const use = manifest === undefined ? undefined : useOf(manifest, name);
	if (use !== undefined) return notATarget(target, name, use);
	const near = nearest(name, names);
	return new HfStreamDcpError("OPTIONS_INVALID", `${target} has no tensor ${name}`, {
		hint: suggestion(near ?? undefined, name, manifest) ?? listHint(names),
		facts: { name, nearest: near },
	});
}

function suggestion(
	near: string | undefined,
	name: string,
	manifest: Manifest | undefined,
): string | undefined {
	if (near !== undefined) return `Did you mean ${near}?`;
	const source = nearest(
		name,
		(manifest?.source.tensors ?? []).map((tensor) => tensor.name),
	);
	const use = manifest === undefined || source === undefined ? undefined : useOf(manifest, source);
	if (use === undefined) return undefined;
	return `Did you mean ${source}? ${sentenceOf(use)}`;
}

function listHint(names: readonly string[]): string {
	if (names.length === 0) return "It has no tensors at all.";
	return `It has ${names.slice(0, 3).join(", ")}, …; \`hf-stream-dcp inspect\` without --tensor lists them.`;
}

function notATarget(target: string, name: string, use: SourceUse): HfStreamDcpError {
	return new HfStreamDcpError(
		"OPTIONS_INVALID",
		`${name} is a tensor of the source, and not one of ${target}`,
		{ hint: sentenceOf(use), facts: { name, targets: use.targets } },
	);
}

function sentenceOf({ targets, dropped }: SourceUse): string {
	if (targets.length > 0) {
		const more = targets.length > MAX_NAMES ? ` and ${targets.length - MAX_NAMES} more` : "";
		return `It went into ${targets.slice(0, MAX_NAMES).join(", ")}${more}.`;
	}
	return dropped === undefined ? "It went into no tensor." : `It was left out: ${dropped}.`;
}
