import { spawnSync } from "node:child_process";

/** A Python that has what a test needs, or why there is none. */
export type PythonSearch = { readonly python: string } | { readonly skip: string };

/**
 * Looks for a Python with the given modules: the one `HF_STREAM_DCP_PYTHON` names, else `python3`.
 *
 * @throws {Error} in CI (`CI` set) instead of returning a reason to skip: there a missing tool is a failure.
 */
export function findPython(modules: readonly string[]): PythonSearch {
	const python = process.env["HF_STREAM_DCP_PYTHON"] ?? "python3";
	const script =
		"import importlib.util, sys; print(*[m for m in sys.argv[1:] if importlib.util.find_spec(m) is None])";
	const { error, status, stdout } = spawnSync(python, ["-c", script, ...modules], {
		encoding: "utf8",
	});
	const missing =
		error !== undefined || status !== 0
			? `a working ${python}`
			: stdout.trim().replaceAll(" ", ", ");
	if (missing === "") return { python };
	const skip = `needs ${missing}; point HF_STREAM_DCP_PYTHON at a Python that has scripts/oracle-requirements.txt`;
	if (process.env["CI"] !== undefined) throw new Error(skip);
	return { skip };
}
