/** Whether the optional package `webgpu` is there. Loads nothing. */
export function isWebgpuInstalled(): boolean {
	try {
		import.meta.resolve("webgpu");
		return true;
	} catch {
		return false;
	}
}
