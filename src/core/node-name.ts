const DNS_LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** What is wrong with a node name, or undefined. `name` must already be lower case. */
export function nodeNameProblem(name: string): { problem: string; suggestion: string | undefined } | undefined {
  const labels = name.split('.');
  if (name.length <= 253 && labels.every((l) => DNS_LABEL.test(l))) return undefined;
  const suggestion = name
    .replace(/[^a-z0-9.-]+/g, '-')
    .split('.')
    .map((l) => l.slice(0, 63).replace(/^-+|-+$/g, ''))
    .filter((l) => l !== '')
    .join('.')
    .slice(0, 63)
    .replace(/[-.]+$/, '');
  return {
    problem:
      'a node name has letters, digits, "-" and ".", starts and ends with a letter or digit, up to 63 between dots',
    suggestion: suggestion === '' || suggestion === name ? undefined : suggestion,
  };
}
