/**
 * `$(NAME)` references in commands, arguments and environment values (upstream third_party/forked/golang/expansion):
 * `$$` is a literal `$`, an unknown name and a lone `$` stay as they are. Stops once the result is longer than `limit`,
 * since values may multiply.
 */
export function expand(
  text: string,
  lookup: (name: string) => string | undefined,
  limit = Number.POSITIVE_INFINITY,
): string {
  let at = text.indexOf('$');
  if (at < 0) return text;
  let out = '';
  let from = 0;
  while (at >= 0 && at + 1 < text.length) {
    out += text.slice(from, at);
    const next = text[at + 1];
    if (next === '$') {
      out += '$';
      from = at + 2;
    } else if (next === '(') {
      const end = text.indexOf(')', at + 2);
      if (end < 0) {
        // An unclosed reference is taken literally.
        out += '$(';
        from = at + 2;
      } else {
        const name = text.slice(at + 2, end);
        out += lookup(name) ?? `$(${name})`;
        from = end + 1;
      }
    } else {
      out += `$${next}`;
      from = at + 2;
    }
    if (out.length > limit) return out;
    at = text.indexOf('$', from);
  }
  return out + text.slice(from);
}
