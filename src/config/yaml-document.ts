import type { Document, ParseOptions } from 'yaml';

/** Where and why a text is no YAML; the text itself is not quoted: secrets may stand in it. */
export class YamlFault extends Error {
  readonly problem: string;
  readonly line: number;

  constructor(problem: string, line: number) {
    super(`line ${line}: ${problem}`);
    this.problem = problem;
    this.line = line;
  }
}

/** What is asked of a document's `toJS`: more aliases make a small text a huge value. */
export const TO_JS = { maxAliasCount: 100 } as const;

export interface Yaml {
  documents: readonly Document[];
  /** Throws {@link YamlFault} if it is not valid. */
  check(document: Document): void;
  /** The line of an offset in the text. */
  lineOf(offset: number): number;
}

/**
 * A YAML or JSON text as documents of nodes. YAML 1.1 as in Kubernetes (sigs.k8s.io/yaml) and k3s, so that `yes`, `on`
 * and 0755 mean what they mean there; Go's parser knows neither base-60 numbers (20:30) nor, for plain values,
 * timestamps.
 */
export async function readYaml(
  text: string,
  options: Pick<ParseOptions, 'uniqueKeys' | 'intAsBigInt'> = {},
): Promise<Yaml> {
  // Half of the boards have no such file: the parser costs 50 ms there and 10 MB, so it is loaded only for one.
  const { parseAllDocuments, LineCounter } = await import('yaml');
  const lines = new LineCounter();
  const lineOf = (offset: number) => lines.linePos(offset).line;
  const documents = parseAllDocuments(text, {
    ...options,
    version: '1.1',
    lineCounter: lines,
    prettyErrors: false,
    logLevel: 'silent',
    customTags: (tags) =>
      tags.filter((t) => typeof t === 'string' || (t.format !== 'TIME' && t.tag !== 'tag:yaml.org,2002:timestamp')),
  });
  return {
    documents: Array.isArray(documents) ? documents : [],
    check({ errors: [error] }) {
      if (error) throw new YamlFault(`not valid YAML (${error.code})`, lineOf(error.pos[0]));
    },
    lineOf,
  };
}

/** The documents of a YAML or JSON text as plain values, empty ones left out. Throws {@link YamlFault}. */
export async function parseDocuments(text: string): Promise<unknown[]> {
  const { documents, check } = await readYaml(text);
  for (const document of documents) check(document);
  try {
    return documents
      .filter((document) => document.contents !== null)
      .map((document) => document.toJS(TO_JS) as unknown);
  } catch {
    throw new YamlFault('it has too many aliases', 1);
  }
}
