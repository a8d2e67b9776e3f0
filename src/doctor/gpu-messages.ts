/** How far the look at a GPU came. */
export type GpuStep = "package" | "adapter" | "device" | "self-test";

/** A GPU, as its driver describes it. */
export interface GpuAdapter {
	readonly vendor: string;
	readonly architecture: string;
	readonly device: string;
	readonly description: string;
	/** Whether it is the processor that plays the GPU. */
	readonly isSoftware: boolean;
}

/** What the known-answer test found for one kernel. */
export interface KernelCheck {
	readonly kernel: string;
	readonly ok: boolean;
	readonly detail?: string | undefined;
}

/** Why no GPU can be used. */
export interface GpuFailure {
	/** What was tried. */
	readonly step: GpuStep;
	readonly message: string;
	readonly hint?: string | undefined;
	/** Whether the process that looked at it crashed or hung. */
	readonly crashed?: boolean | undefined;
}

/** What the process that looks at the GPU tells, in this order; what comes after a crash is missing. */
export type FromGpuProgram =
	| { readonly kind: "step"; readonly step: GpuStep }
	/** Names of all devices that drivers offer. */
	| { readonly kind: "adapters"; readonly names: readonly string[] }
	/** The one that would be used. */
	| {
			readonly kind: "adapter";
			readonly adapter: GpuAdapter;
			readonly limits: { readonly [name: string]: number };
	  }
	| { readonly kind: "kernels"; readonly kernels: readonly KernelCheck[] }
	| { readonly kind: "failed"; readonly failure: GpuFailure }
	/** The last message. */
	| { readonly kind: "done" };
