/** Where the classes of `.metadata` live, torch 2.3 and later. */
export const METADATA_MODULE = "torch.distributed.checkpoint.metadata";
/** Where `_StorageInfo` lives. */
export const FILESYSTEM_MODULE = "torch.distributed.checkpoint.filesystem";
/** Where torch before 2.3 kept the classes of tensor properties; 2.13 still loads them. */
export const OLD_METADATA_MODULE = "torch.distributed._shard.sharded_tensor.metadata";

/** Every attribute of the module `torch` that is a dtype in torch 2.13, also those we cannot hold. */
const TORCH_DTYPES = [
	..."float64 float32 float16 bfloat16 complex32 complex64 complex128 bool".split(" "),
	..."int64 int32 int16 int8 uint64 uint32 uint16 uint8".split(" "),
	..."float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu".split(" "),
	..."float4_e2m1fn_x2 quint8 qint8 qint32 quint4x2 quint2x4 bits8 bits16".split(" "),
	..."bits1x8 bits2x4 bits4x2 uint1 uint2 uint3 uint4 uint5 uint6 uint7".split(" "),
	..."int1 int2 int3 int4 int5 int6 int7".split(" "),
];

const STORAGES =
	"Double Float Half BFloat16 Long Int Short Char Byte Bool ComplexFloat ComplexDouble Untyped".split(
		" ",
	);

function names(module: string, attributes: readonly string[]): string[] {
	return attributes.map((attribute) => `${module}.${attribute}`);
}

/** Globals that a `.metadata` written by any torch from 2.1 to 2.14 may name. */
export const METADATA_GLOBALS: ReadonlySet<string> = new Set([
	...names(METADATA_MODULE, [
		"Metadata",
		"TensorStorageMetadata",
		"BytesStorageMetadata",
		"ChunkStorageMetadata",
		"MetadataIndex",
		"TensorProperties",
		"_MEM_FORMAT_ENCODING",
		"StorageMeta",
	]),
	...names(OLD_METADATA_MODULE, ["TensorProperties", "MEM_FORMAT_ENCODING"]),
	...names(FILESYSTEM_MODULE, ["_StorageInfo"]),
	...names("torch", ["Size", ...TORCH_DTYPES]),
	...names("torch.serialization", ["_get_layout"]),
	...names("collections", ["OrderedDict"]),
	// Python 3.13 moved the classes of `pathlib` to a private module.
	...["pathlib", "pathlib._local"].flatMap((module) =>
		names(module, [
			"Path",
			"PurePath",
			"PosixPath",
			"PurePosixPath",
			"WindowsPath",
			"PureWindowsPath",
		]),
	),
]);

/** Globals that `data.pkl` of a saved tensor may name. */
export const TENSOR_GLOBALS: ReadonlySet<string> = new Set([
	...names("torch._utils", ["_rebuild_tensor_v2", "_rebuild_tensor_v3"]),
	...names("torch", ["Size", ...TORCH_DTYPES]),
	...names(
		"torch",
		STORAGES.map((name) => `${name}Storage`),
	),
	...names("torch.storage", ["UntypedStorage"]),
	...names("collections", ["OrderedDict"]),
]);
