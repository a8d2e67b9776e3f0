import type { Dtype } from "../../core/dtype.ts";
import { isHfStreamDcpError } from "../../core/errors.ts";
import {
	type CompanionFile,
	type Companions,
	readCompanions,
} from "../../export/companion-files.ts";
import {
	changeConfig,
	changesConfig,
	type ConfigChange,
	writeConfig,
} from "../../export/config-text.ts";
import type { ExportOptions } from "../../export-options.ts";
import { openBeside } from "./open-model.ts";
import type { SourceBeside } from "../../fetch/open-source.ts";
import type { ExportSummary } from "./export-summary.ts";
import type { PreparedExport } from "./prepare-export.ts";

/** What is written beside weights and index. */
export interface ModelFiles {
	readonly config: CompanionFile | undefined;
	/** What became of it. */
	readonly configState: ExportSummary["config"];
	readonly copied: readonly CompanionFile[];
	readonly warnings: readonly string[];
}

/**
 * Reads the small files of the model, and changes in `config.json` what the export changes. That they cannot be had is no failure: the
 * manifest knows what `config.json` said.
 *
 * @throws `signal.reason` when aborted.
 */
export async function readModelFiles(
	prepared: PreparedExport,
	options: ExportOptions,
): Promise<ModelFiles> {
	const { recipes, names, content } = prepared;
	const warnings: string[] = [];
	const found = await findCompanions(prepared, options, warnings);
	const path = `${names.folder}config.json`;
	const change = configChange(options, content.tensors);
	const copied = found?.files ?? [];
	const known = found?.config ?? writtenConfig(recipes.source.config, warnings);
	if (known === undefined) return { config: undefined, configState: "none", copied, warnings };
	const isChanged = changesConfig(change);
	const asItWas = found?.config === undefined ? "written" : "copied";
	return {
		config: {
			path,
			bytes: isChanged
				? Buffer.from(changeConfig(Buffer.from(known).toString("utf8"), change))
				: known,
		},
		configState: isChanged ? "changed" : asItWas,
		copied,
		warnings,
	};
}

async function findCompanions(
	{ model, manifest }: PreparedExport,
	options: ExportOptions,
	warnings: string[],
): Promise<Companions | undefined> {
	try {
		const beside = model?.beside;
		if (beside !== undefined) return await read(beside);
		await using opened = manifest === undefined ? undefined : await openBeside(manifest, options);
		if (opened !== undefined) return await read(opened.beside);
		warnings.push(
			"the model is not where it was; --model says where to copy tokenizer and settings from",
		);
	} catch (error) {
		options.signal?.throwIfAborted();
		if (!isHfStreamDcpError(error)) throw error;
		warnings.push(`tokenizer and settings are not copied: ${error.message}`);
	}
	return undefined;

	async function read({ files, folder }: SourceBeside): Promise<Companions> {
		const companions = await readCompanions(files, folder);
		warnings.push(...companions.warnings);
		return companions;
	}
}

function writtenConfig(config: unknown, warnings: string[]): Uint8Array | undefined {
	if (config === undefined) return undefined;
	warnings.push(
		"config.json is written from its values: floats that are whole numbers lose their point, which transformers 5 may refuse",
	);
	return Buffer.from(writeConfig(config));
}

function configChange(
	{ dtype }: ExportOptions,
	tensors: PreparedExport["content"]["tensors"],
): ConfigChange {
	const dropsQuantisation = tensors.some(({ isDequantised }) => isDequantised);
	const isOther = tensors.some(
		({ expr, original, isDequantised }) => !isDequantised && expr.dtype !== original.dtype,
	);
	const isChanged = dtype !== "original" && (isOther || dropsQuantisation);
	return {
		dtype: isChanged || dropsQuantisation ? mostUsed(tensors) : undefined,
		dropsQuantisation,
	};
}

/** The dtype of most elements: what loaders make of a model that they are not told to. */
function mostUsed(tensors: PreparedExport["content"]["tensors"]): Dtype | undefined {
	const elements = new Map<Dtype, number>();
	for (const { expr } of tensors) {
		const count = expr.shape.reduce((product, size) => product * size, 1);
		elements.set(expr.dtype, (elements.get(expr.dtype) ?? 0) + count);
	}
	return [...elements].toSorted(([, a], [, b]) => b - a)[0]?.[0];
}
