/**
 * The address or addresses (commas between) without what must not be shown: the password, a name without a password,
 * which can be a token, and a `password` among the parameters.
 */
export function maskUrl(urls: string): string {
  // A comma inside a password must not cut it in two, so only one before a scheme counts.
  return urls
    .split(/,(?=[a-z+]+:\/\/)/i)
    .map(maskOne)
    .join(",");
}

function maskOne(url: string): string {
  // A password that is not percent-encoded may hold an @ or a slash, so everything up to the last @ counts.
  return url
    .replace(/^([a-z+]+:\/\/)?(.*)@/i, (_all, scheme: string | undefined, user: string) => {
      const name = user.includes(":") ? user.slice(0, user.indexOf(":") + 1) : "";
      return `${scheme ?? ""}${name}***@`;
    })
    .replace(/([?&]password=)[^&]*/gi, "$1***");
}
