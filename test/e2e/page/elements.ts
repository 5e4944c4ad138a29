/** What a page uses of the browser; the program around it is checked without the browser's types. */
declare const document: {
  readonly body: { append(element: PageElement): void };
  createElement(name: string): PageElement;
};
declare const location: { readonly search: string };

interface PageElement {
  id: string;
  className: string;
  textContent: string;
  onclick?: () => void;
}

/** Where the server is. */
export const baseUrl = new URLSearchParams(location.search).get("server") ?? "";

/** The link that the page was opened with. */
export const link = new URLSearchParams(location.search).get("link") ?? "";

/** Appends a link. */
export function showLink(id: string, href: string): void {
  document.body.append(Object.assign(document.createElement("a"), { id, textContent: id, href }));
}

/** Appends a paragraph. */
export function show(id: string, text: string, className = ""): void {
  document.body.append(Object.assign(document.createElement("p"), { id, className, textContent: text }));
}

/** Resolves when a new button has been clicked. */
export function clicked(id: string): Promise<void> {
  return new Promise((resolve) => {
    document.body.append(Object.assign(document.createElement("button"), { id, textContent: id, onclick: resolve }));
  });
}
