/** Where and why a text is no YAML; the text itself is not quoted. */
export class YamlFault extends Error {
  readonly problem: string;
  readonly line: number;

  constructor(problem: string, line: number) {
    super(`line ${line}: ${problem}`);
    this.problem = problem;
    this.line = line;
  }
}

/**
 * The documents of a YAML or JSON text as plain values, empty ones left out. YAML 1.1 as in Kubernetes
 * (sigs.k8s.io/yaml), where dates stay texts. Throws {@link YamlFault}.
 */
export async function parseDocuments(text: string): Promise<unknown[]> {
  const { parseAllDocuments, LineCounter } = await import('yaml');
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, {
    version: '1.1',
    lineCounter: lines,
    prettyErrors: false,
    logLevel: 'silent',
    customTags: (tags) =>
      tags.filter((t) => typeof t === 'string' || (t.format !== 'TIME' && t.tag !== 'tag:yaml.org,2002:timestamp')),
  });
  const used = Array.isArray(documents) ? documents : [];
  for (const document of used) {
    const error = document.errors[0];
    if (error) throw new YamlFault(`not valid YAML (${error.code})`, lines.linePos(error.pos[0]).line);
  }
  try {
    return used
      .filter((document) => document.contents !== null)
      .map((document) => document.toJS({ maxAliasCount: 100 }) as unknown);
  } catch {
    throw new YamlFault('it has too many aliases', 1);
  }
}
