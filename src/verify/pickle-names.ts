import { TENSOR_GLOBALS } from "../dcp/python-names.ts";

function names(module: string, attributes: string): string[] {
	return attributes.split(" ").map((attribute) => `${module}.${attribute}`);
}

/** What pickles of plain values name: making these runs nothing that could do harm. */
const HARMLESS: ReadonlySet<string> = new Set([
	...TENSOR_GLOBALS,
	...["builtins", "__builtin__"].flatMap((module) =>
		names(
			module,
			"set frozenset dict list tuple int float complex bool str bytes bytearray slice range object",
		),
	),
	...names("_codecs", "encode"),
	...names("collections", "OrderedDict defaultdict deque Counter"),
	...names("datetime", "datetime date time timedelta timezone"),
	...names("torch", "device Generator"),
	...names("torch._utils", "_rebuild_parameter _rebuild_tensor _rebuild_device_tensor_from_numpy"),
	...["numpy.core.multiarray", "numpy._core.multiarray"].flatMap((module) =>
		names(module, "_reconstruct scalar"),
	),
	...["numpy.core.numeric", "numpy._core.numeric"].flatMap((module) =>
		names(module, "_frombuffer"),
	),
	...names("numpy", "dtype ndarray"),
]);

/** Packages of Python that an object of a checkpoint has no use for, and that attacks name. */
const DANGEROUS: ReadonlySet<string> = new Set(
	(
		"os posix nt subprocess sys builtins __builtin__ shutil socket pty runpy importlib imp ctypes code codeop pickle _pickle " +
		"dill cloudpickle marshal types operator _operator webbrowser http urllib requests asyncio multiprocessing threading signal " +
		"tempfile pip timeit pdb bdb cProfile profile trace commands popen2 platform pydoc inspect gc atexit site venv zipimport"
	).split(" "),
);

/** How far a global can be trusted that an object's pickle names. */
export type Trust = "harmless" | "dangerous" | "unknown";

/** Sorts a global by its dotted name: `os.system` is dangerous, a class of a trainer unknown. */
export function trustIn(name: string): Trust {
	if (HARMLESS.has(name)) return "harmless";
	return DANGEROUS.has(name.split(".")[0] ?? "") ? "dangerous" : "unknown";
}
