import type { ReportMesh } from "../report-data.ts";
import { select, slider } from "./controls.ts";
import { defaultView, type MeshView } from "./mesh-grid.ts";

/** What is shown now: a mesh, and how it is looked at. */
export interface MeshScene {
	readonly mesh: ReportMesh;
	readonly view: MeshView;
}

/** `fsdp 8 × tp 4` */
export function describeMesh({ axes }: ReportMesh): string {
	return axes.map(({ name, size }) => `${name} ${size}`).join(" × ");
}

/** What runs where, and where the other dimensions are held. */
export function legendOf({ mesh: { axes }, view: { across, down, held } }: MeshScene): string {
	const name = (axis: number): string => `${axes[axis]?.name ?? ""} ${axes[axis]?.size ?? 1}`;
	if (down === undefined) return axes[across]?.name === "rank" ? "" : `→ ${name(across)}`;
	const others = axes.flatMap((axis, index) =>
		index === across || index === down ? [] : [`${axis.name} = ${held[index] ?? 0}`],
	);
	return [`→ ${name(across)}`, `↓ ${name(down)}`, ...others].join("  ·  ");
}

/** Which mesh, which two of its dimensions, and where the others are held; nothing where there is no choice. */
export function meshControls(
	meshes: readonly ReportMesh[],
	scene: MeshScene,
	change: (scene: MeshScene) => void,
): HTMLElement[] {
	const { mesh } = scene;
	const controls: HTMLElement[] = [];
	if (meshes.length > 1) {
		const names = meshes.map((one) =>
			one.name === "experts" ? `experts: ${describeMesh(one)}` : describeMesh(one),
		);
		controls.push(
			select("Mesh", names, meshes.indexOf(mesh), (index) => {
				const next = meshes[index] ?? mesh;
				change({ mesh: next, view: defaultView(next) });
			}),
		);
	}
	if (mesh.axes.length > 2) controls.push(...axisControls(scene, change));
	return controls;
}

function axisControls(
	{ mesh, view }: MeshScene,
	change: (scene: MeshScene) => void,
): HTMLElement[] {
	const { axes } = mesh;
	const names = axes.map(({ name }) => name);
	const { across, down = 0, held } = view;
	// The two stay different: taking the other's dimension gives it one's own.
	const setAcross = (axis: number): void =>
		change({ mesh, view: { across: axis, down: axis === down ? across : down, held } });
	const setDown = (axis: number): void =>
		change({ mesh, view: { down: axis, across: axis === across ? down : across, held } });
	return [
		select("Across", names, across, setAcross),
		select("Down", names, down, setDown),
		...axes.flatMap(({ name, size }, axis) => {
			if (axis === across || axis === down) return [];
			const set = (value: number): void =>
				change({ mesh, view: { ...view, held: held.map((own, i) => (i === axis ? value : own)) } });
			return [slider(name, size, held[axis] ?? 0, set)];
		}),
	];
}
