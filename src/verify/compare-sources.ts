import { HfStreamDcpError } from "../core/errors.ts";
import { formatShape, shapesEqual } from "../core/shape.ts";
import type { Source, SourceFile, SourceTensor } from "../core/source.ts";
import { quote } from "../dcp/corrupt.ts";

/** Differences that a message names before it only counts. */
const SHOWN = 10;

/** What two sources that must be the same agree in. */
export interface SourceAgreement {
	/** Files whose SHA-256 both state. */
	readonly hashedFiles: number;
	readonly files: number;
}

/**
 * Compares a source as it is with what a manifest says of it: commit, files with their sizes and SHA-256, tensors with their dtypes,
 * shapes and ranges.
 *
 * @param isElsewhere - Whether it was looked for in another place than the manifest says, where the commit need not be known.
 * @throws {HfStreamDcpError} `SOURCE_CHANGED` with every difference in `facts.differences`.
 */
export function compareSources(
	stated: Source,
	actual: Source,
	isElsewhere: boolean,
): SourceAgreement {
	const differences = [
		...commitDifferences(stated, actual, isElsewhere),
		...listDifferences("file", stated.files, actual.files, ({ path }) => path, fileDifferences),
		...listDifferences(
			"tensor",
			stated.tensors,
			actual.tensors,
			({ name }) => name,
			tensorDifferences,
		),
	];
	if (differences.length === 0) {
		const known = new Map(actual.files.map((file) => [file.path, file.sha256]));
		const hashed = stated.files.filter(
			({ path, sha256 }) => sha256 !== undefined && known.get(path) !== undefined,
		);
		return { hashedFiles: hashed.length, files: stated.files.length };
	}
	const shown = differences.slice(0, SHOWN);
	const more = differences.length - shown.length;
	throw new HfStreamDcpError(
		"SOURCE_CHANGED",
		`${actual.repo} is not the source that the manifest names: ${[...shown, ...(more > 0 ? [`and ${more} more`] : [])].join("; ")}`,
		{
			hint: "Give the source that the checkpoint was made of: --source DIR or --source org/name. If it is this one, it changed since, or the manifest did.",
			facts: { repo: actual.repo, commit: actual.commit, differences },
		},
	);
}

function commitDifferences(stated: Source, actual: Source, isElsewhere: boolean): string[] {
	const isKnown = actual.commit !== "local" && stated.commit !== "local";
	if (stated.commit === actual.commit || (isElsewhere && !isKnown)) return [];
	return [`its commit is ${actual.commit} instead of ${stated.commit}`];
}

function listDifferences<T>(
	what: string,
	stated: readonly T[],
	actual: readonly T[],
	nameOf: (item: T) => string,
	compare: (stated: T, actual: T) => readonly string[],
): string[] {
	const known = new Map(actual.map((item) => [nameOf(item), item]));
	const differences: string[] = [];
	for (const item of stated) {
		const name = nameOf(item);
		const other = known.get(name);
		known.delete(name);
		if (other === undefined) differences.push(`${what} ${quote(name)} is gone`);
		else differences.push(...compare(item, other).map((how) => `${what} ${quote(name)} ${how}`));
	}
	return [...differences, ...[...known.keys()].map((name) => `${what} ${quote(name)} is new`)];
}

function fileDifferences(stated: SourceFile, actual: SourceFile): readonly string[] {
	const differences: string[] = [];
	if (stated.bytes !== actual.bytes) {
		differences.push(`has ${actual.bytes} bytes instead of ${stated.bytes}`);
	}
	if (stated.headerBytes !== actual.headerBytes) {
		differences.push(
			`has a header of ${actual.headerBytes} bytes instead of ${stated.headerBytes}`,
		);
	}
	const areKnown = stated.sha256 !== undefined && actual.sha256 !== undefined;
	if (areKnown && stated.sha256 !== actual.sha256) {
		differences.push(`has the SHA-256 ${actual.sha256} instead of ${stated.sha256}`);
	}
	return differences;
}

function tensorDifferences(stated: SourceTensor, actual: SourceTensor): readonly string[] {
	const isSame =
		stated.dtype === actual.dtype &&
		shapesEqual(stated.shape, actual.shape) &&
		stated.file === actual.file &&
		stated.begin === actual.begin &&
		stated.end === actual.end;
	return isSame ? [] : [`is ${describe(actual)} instead of ${describe(stated)}`];
}

function describe({ dtype, shape, file, begin, end }: SourceTensor): string {
	return `${dtype} ${formatShape(shape)} at ${begin}–${end} of ${quote(file)}`;
}
