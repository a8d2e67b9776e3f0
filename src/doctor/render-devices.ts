import type { Host } from "./host.ts";

/** A device file through which Mesa's drivers reach a GPU. */
export interface RenderDevice {
	/** `/dev/dri/renderD128` */
	readonly path: string;
	/** Whether this process may open it. */
	readonly isAccessible: boolean;
}

/** The GPUs that Linux offers for work without a display, whoever made them. */
export function findRenderDevices(host: Host): readonly RenderDevice[] {
	const folder = "/dev/dri";
	return host
		.list(folder)
		.filter((name) => /^renderD\d+$/.test(name))
		.map((name) => `${folder}/${name}`)
		.map((path) => ({ path, isAccessible: host.isAccessible(path) }));
}
