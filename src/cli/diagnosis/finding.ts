/** Whether something is as it should be; is worth knowing; or keeps something from working. */
export type FindingState = "ok" | "note" | "problem";

/** One thing that was looked at. */
export interface Finding {
	/** What a conversion needs, or what only a GPU needs. */
	readonly area: "machine" | "gpu";
	readonly state: FindingState;
	/** What was found. */
	readonly text: string;
	/** What to do. */
	readonly hint?: string | undefined;
}
