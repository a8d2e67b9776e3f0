import { HfStreamDcpError } from "../core/errors.ts";

/** A manifest that is not as it was written. */
export function corruptManifest(path: string, why: string): HfStreamDcpError {
	return new HfStreamDcpError("CHECKPOINT_CORRUPT", `${path} is damaged: ${why}`, {
		hint: "Copy it again from where the checkpoint was written. Loaders do not need it; without it the checkpoint can be verified only as far as PyTorch's own files allow.",
		facts: { path },
	});
}

/** A manifest of another version of this program, or a file of something else. */
export function foreignManifest(path: string, format: string): HfStreamDcpError {
	return new HfStreamDcpError(
		"CHECKPOINT_CORRUPT",
		`${path} is ${format}, not "hf-stream-dcp manifest 1"`,
		{
			hint: "Use the version of hf-stream-dcp that wrote it, or a later one that still reads it.",
			facts: { path, format },
		},
	);
}
