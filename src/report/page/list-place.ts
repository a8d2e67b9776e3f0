/** Where a list is scrolled to. Pixels, but for the rows. */
export interface ListPlace {
	readonly rows: number;
	readonly rowHeight: number;
	readonly viewHeight: number;
	readonly scrollTop: number;
}

/** Browsers do not scroll farther than some tens of millions of pixels. */
const MAX_HEIGHT = 8_000_000;

/** Height of what is scrolled. Of very long lists it is less than that of their rows: a pixel is several rows. */
export function totalHeight({ rows, rowHeight }: ListPlace): number {
	return Math.min(rows * rowHeight, MAX_HEIGHT);
}

/** The first row in view, with its fraction. */
export function topRowOf(place: ListPlace): number {
	const reach = totalHeight(place) - place.viewHeight;
	if (reach <= 0) return 0;
	const rest = place.rows - place.viewHeight / place.rowHeight;
	return (Math.min(place.scrollTop, reach) / reach) * rest;
}

/** Where to scroll so that a row is in view; `undefined` when it is. */
export function scrollTopFor(place: ListPlace, index: number): number | undefined {
	const inView = place.viewHeight / place.rowHeight;
	const top = topRowOf(place);
	if (index >= top && index + 1 <= top + inView) return undefined;
	const rest = place.rows - inView;
	if (rest <= 0) return 0;
	const wanted = index < top ? index : index + 1 - inView;
	return (wanted / rest) * (totalHeight(place) - place.viewHeight);
}
