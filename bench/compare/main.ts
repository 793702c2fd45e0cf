import { readFileSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Cluster, clusterUnavailable, createCluster } from '../../test/e2e/support/cluster.ts';
import { ours } from './contender.ts';
import { BUSY, machineFacts } from './machine.ts';
import { begin, bursts, finish, type MeasureOptions, type Side } from './measure.ts';
import { original } from './original.ts';
import { markdown, rows, text } from './report.ts';

/** Runs every bench for the original agent and for this one against the same server; bursts of pods in turn. */
const { values } = parseArgs({
  options: {
    write: { type: 'boolean', default: false },
    crowd: { type: 'boolean', default: false },
    idle: { type: 'string', default: '60' },
  },
});
const root = join(import.meta.dirname, '../..');
const binary = process.env.K3S_SERVER_BIN;
const unavailable = clusterUnavailable();
if (unavailable) {
  console.error(`nothing can be measured here: ${unavailable}`);
  process.exit(1);
}
const facts = await machineFacts();
if ((loadavg()[0] ?? 0) > BUSY) console.error('warning: the machine is busy, do not believe these figures');

let cluster: Cluster | undefined;
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void cluster?.remove().finally(() => process.exit(130)));
try {
  cluster = await createCluster(6);
  const common = { cluster, idleSeconds: Number(values.idle), crowd: values.crowd };
  const first = binary ? await original(cluster, binary) : undefined;
  const theirs = first && (await side({ ...common, contender: first, hosts: ['n1', 'n2', 'n3'] }));
  const second = await ours(cluster);
  const own = await side({ ...common, contender: second, hosts: ['n4', 'n5', 'n6'] });
  const sides = [...(theirs ? [theirs] : []), own];
  await bursts(sides);
  for (const each of sides) await finish(each);
  const table = rows(first && theirs && { name: first.name, figures: theirs.figures }, {
    name: second.name,
    figures: own.figures,
  });
  if (first && theirs) facts.push(`${first.name} with its ${theirs.runtime}`);
  facts.push(
    `${second.name} with the host's ${own.runtime}, server: ${first?.name ?? `the ${cluster.server.kind}`} on the same machine`,
    `idle figures over ${values.idle} s, beginning 40 s after the pod was Ready, before any other pod ran`,
    `bursts${theirs ? ' in turn on both nodes' : ''}, medians of 3`,
  );
  console.log(text(table));
  publish(`${markdown(table, facts)}\n`);
} catch (error) {
  console.error(cluster?.logs());
  console.error(error);
  process.exitCode = 1;
} finally {
  await cluster?.remove();
}
process.exit();

async function side(options: Omit<MeasureOptions, 'say'>): Promise<Side> {
  const { contender, cluster: lab } = options;
  const say = (what: string) => console.error(`${contender.name}: ${what}`);
  try {
    return await begin({ ...options, say });
  } catch (error) {
    for (const host of options.hosts) console.error(tail(join(lab.lab.dir, `agent-${host}.log`)));
    throw error;
  }
}

/** To dist/versus.md; with --write also between the marks of docs/performance.md. */
function publish(measured: string): void {
  const copy = join(root, 'dist/versus.md');
  writeFileSync(copy, measured);
  console.error(`\nas Markdown: ${copy}`);
  if (!values.write) return;
  const page = join(root, 'docs/performance.md');
  const [begin, end] = ['<!-- measured -->\n', '<!-- /measured -->'];
  const [before, rest = ''] = readFileSync(page, 'utf8').split(begin);
  writeFileSync(page, `${before}${begin}\n${measured}\n${end}${rest.split(end)[1] ?? ''}`);
}

function tail(path: string): string {
  try {
    return `== ${path}\n${readFileSync(path, 'utf8').split('\n').slice(-30).join('\n')}`;
  } catch {
    return '';
  }
}
