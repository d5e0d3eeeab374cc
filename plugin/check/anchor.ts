/** The anchor a Markdown renderer gives a heading of letters, digits, - and _. */
export const anchorOf = (heading: string): string => heading.toLowerCase();
