import { link, show, showLink } from "./elements.ts";

// A page with a link to a file, which it would like to read as well.

showLink("save", link);
try {
  show("read", await (await fetch(link)).text());
} catch (error) {
  show("error", String(error));
}
