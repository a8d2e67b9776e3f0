import { boxKey, formatBox } from "../core/box.ts";
import type { CheckpointTensor } from "../core/checkpoint.ts";
import type { Entry } from "../core/ports.ts";
import { formatShape, shapesEqual } from "../core/shape.ts";
import type { ReadIndex } from "../dcp/checkpoint-reader.ts";
import { quote } from "../dcp/corrupt.ts";
import type { Problem } from "./problem.ts";
import type { StoredIndex } from "./stored.ts";

/** Where `.metadata` and the manifest say different things about tensors, chunks and places. */
export function compareWithManifest(
	{ tensors, objects }: Pick<ReadIndex, "tensors" | "objects">,
	manifest: StoredIndex,
): Problem[] {
	const theirs = new Map(manifest.tensors.map((tensor) => [tensor.fqn, tensor]));
	const problems: Problem[] = [];
	const differ = (fqn: string, message: string): void => {
		problems.push({ kind: "metadata", message, fqn, file: ".metadata" });
	};
	for (const { fqn } of objects) differ(fqn, `the manifest has no object ${quote(fqn)}`);
	for (const tensor of tensors) {
		const { fqn } = tensor;
		const other = theirs.get(fqn);
		theirs.delete(fqn);
		if (other === undefined) differ(fqn, `the manifest has no tensor ${quote(fqn)}`);
		else for (const message of compareTensors(tensor, other)) differ(fqn, message);
	}
	for (const fqn of theirs.keys()) {
		differ(fqn, `.metadata lacks the tensor ${quote(fqn)} of the manifest`);
	}
	return problems;
}

function compareTensors(ours: CheckpointTensor, theirs: CheckpointTensor): string[] {
	const name = quote(ours.fqn);
	const messages: string[] = [];
	if (ours.dtype !== theirs.dtype) {
		messages.push(`.metadata says that ${name} is ${ours.dtype}, the manifest ${theirs.dtype}`);
	}
	if (!shapesEqual(ours.shape, theirs.shape)) {
		const shapes = [ours, theirs].map(({ shape }) => formatShape(shape));
		messages.push(`.metadata says that ${name} is ${shapes[0]}, the manifest ${shapes[1]}`);
	}
	const rest = new Map(theirs.entries.map((entry) => [boxKey(entry.box), entry]));
	for (const entry of ours.entries) {
		const key = boxKey(entry.box);
		const other = rest.get(key);
		rest.delete(key);
		const chunk = `chunk ${formatBox(entry.box)} of ${name}`;
		if (other === undefined) messages.push(`the manifest has no ${chunk}`);
		else if (!isSamePlace(entry, other)) {
			messages.push(
				`.metadata says that ${chunk} is in ${placeOf(entry)}, the manifest ${placeOf(other)}`,
			);
		}
	}
	for (const { box } of rest.values()) {
		messages.push(`.metadata lacks chunk ${formatBox(box)} of ${name}`);
	}
	return messages;
}

function isSamePlace(a: Entry, b: Entry): boolean {
	return a.file === b.file && a.offset === b.offset && a.length === b.length;
}

function placeOf({ file, offset, length }: Entry): string {
	return `${quote(file)}, bytes ${offset} to ${offset + length}`;
}
