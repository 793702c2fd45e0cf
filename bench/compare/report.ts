import { FIGURES, type FigureName } from './figures.ts';
import type { Figures } from './measure.ts';

export interface Column {
  name: string;
  figures: Figures;
}

const HEAD = ['figure', 'unit'] as const;

/** The table as rows of text. `original` is missing where no k3s binary was given. */
export function rows(original: Column | undefined, ours: Column): string[][] {
  const head = [...HEAD, ...(original ? [original.name] : []), ours.name, ...(original ? ['ratio', 'target'] : [])];
  const known = (Object.keys(FIGURES) as FigureName[]).filter(
    (key) => ours.figures[key] !== undefined || original?.figures[key] !== undefined,
  );
  const body = known.map((key) => {
    const { title, unit, target } = FIGURES[key];
    const [theirs, own] = [original?.figures[key], ours.figures[key]];
    if (original === undefined) return [title, unit, number(own)];
    const ratio = theirs !== undefined && own !== undefined && theirs > 0 ? own / theirs : undefined;
    const missed = target !== undefined && ratio !== undefined && ratio > target;
    return [
      title,
      unit,
      number(theirs),
      number(own),
      ratio === undefined ? '–' : ratio.toFixed(2) + (missed ? ' (missed)' : ''),
      target === undefined ? '–' : `≤ ${target}`,
    ];
  });
  return [head, ...body];
}

export function markdown(table: readonly (readonly string[])[], facts: readonly string[]): string {
  const [head = [], ...body] = table;
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, i) => (i < HEAD.length ? '---' : '--:'));
  return [...facts.map((fact) => `- ${fact}`), '', line(head), line(rule), ...body.map(line)].join('\n');
}

export function text(table: readonly (readonly string[])[]): string {
  const widths = (table[0] ?? []).map((_, i) => Math.max(...table.map((row) => row[i]?.length ?? 0)));
  const cell = (value: string, i: number) =>
    i < HEAD.length ? value.padEnd(widths[i] ?? 0) : value.padStart(widths[i] ?? 0);
  return table.map((row) => row.map(cell).join('  ')).join('\n');
}

function number(value: number | undefined): string {
  if (value === undefined) return '–';
  return value >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2);
}
