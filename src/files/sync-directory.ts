import { open } from "node:fs/promises";

/** Where directories cannot be synced (Windows, some network file systems), their entries are durable without it or never. */
const CANNOT_SYNC: ReadonlySet<unknown> = new Set([
	"EISDIR",
	"EPERM",
	"EACCES",
	"EINVAL",
	"ENOTSUP",
]);

/** Makes the names in `directory` durable: files created, renamed and removed in it. */
export async function syncDirectory(directory: string): Promise<void> {
	try {
		const handle = await open(directory, "r");
		try {
			await handle.sync();
		} finally {
			await handle.close();
		}
	} catch (error) {
		if (!CANNOT_SYNC.has((error as NodeJS.ErrnoException).code)) throw error;
	}
}
