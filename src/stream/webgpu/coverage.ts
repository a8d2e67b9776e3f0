/** Bytes `start` up to but not including `end`. */
export interface Span {
	readonly start: number;
	readonly end: number;
}

/** A set of bytes, as few spans as it can be. */
export class Coverage {
	/** Sorted, disjoint, not touching. */
	#spans: Span[] = [];

	/** What of `span` is not in the set, in ascending order. */
	missing({ start, end }: Span): Span[] {
		const gaps: Span[] = [];
		let from = start;
		for (const span of this.#spans) {
			if (span.end <= from) continue;
			if (span.start >= end) break;
			if (span.start > from) gaps.push({ start: from, end: span.start });
			from = span.end;
		}
		if (from < end) gaps.push({ start: from, end });
		return gaps;
	}

	/** Adds a span. */
	add(span: Span): void {
		let { start, end } = span;
		if (start >= end) return;
		const apart: Span[] = [];
		for (const other of this.#spans) {
			if (other.end < start || other.start > end) {
				apart.push(other);
				continue;
			}
			start = Math.min(start, other.start);
			end = Math.max(end, other.end);
		}
		apart.push({ start, end });
		this.#spans = apart.toSorted((a, b) => a.start - b.start);
	}

	/** Empties the set. */
	clear(): void {
		this.#spans = [];
	}
}
