import type { OpenedCheckpoint } from "../checkpoint/open-checkpoint.ts";
import type { CheckpointObject } from "../core/checkpoint.ts";
import { quote } from "../dcp/corrupt.ts";

/** Bytes of each of two objects that are in memory at a time. */
const STEP_BYTES = 1024 * 1024;

/**
 * Compares the pickled objects of two checkpoints as bytes. The same object can be pickled in several ways, so that what differs need not
 * be wrong.
 *
 * @returns What differs, one sentence each.
 */
export async function compareObjects(
	ours: OpenedCheckpoint,
	theirs: OpenedCheckpoint,
	isWanted: (fqn: string) => boolean,
	signal: AbortSignal | undefined,
): Promise<readonly string[]> {
	const rest = new Map(theirs.checkpoint.objects.map((object) => [object.fqn, object]));
	const notes: string[] = [];
	for (const object of ours.checkpoint.objects) {
		const other = rest.get(object.fqn);
		rest.delete(object.fqn);
		if (!isWanted(object.fqn)) continue;
		const name = `the object ${quote(object.fqn)}`;
		if (other === undefined) notes.push(`${name} is in ${ours.checkpoint.directory} alone`);
		else if (!(await areEqual([ours, object], [theirs, other], signal))) {
			notes.push(`${name} is not pickled to the same bytes`);
		}
	}
	for (const fqn of [...rest.keys()].filter(isWanted)) {
		notes.push(`the object ${quote(fqn)} is in ${theirs.checkpoint.directory} alone`);
	}
	return notes;
}

type Place = readonly [OpenedCheckpoint, CheckpointObject];

async function areEqual(a: Place, b: Place, signal: AbortSignal | undefined): Promise<boolean> {
	const { length } = a[1];
	if (b[1].length !== length) return false;
	for (let done = 0; done < length; done += STEP_BYTES) {
		const count = Math.min(STEP_BYTES, length - done);
		const [left, right] = await Promise.all(
			[a, b].map(async ([{ bytes }, { file, offset }]) => {
				const into = Buffer.alloc(count);
				const start = offset + done;
				await bytes.readInto({ file, start, end: start + count }, into, { signal });
				return into;
			}),
		);
		if (left?.equals(right ?? Buffer.of()) !== true) return false;
	}
	return true;
}
