import assert from 'node:assert/strict';
import { it } from 'node:test';
import { AgentError } from '../../../../src/core/index.ts';
import { sortPodIps } from '../../../../src/kubelet/pods/pod-ips.ts';
import { rpcText } from '../../../../src/kubelet/pods/rpc-text.ts';

it('shows what the runtime says in the words of gRPC, what others say as it is', () => {
  const of = (code: string) => rpcText(new AgentError({ code, message: 'm' }));
  assert.equal(of('CRI_UNKNOWN'), 'rpc error: code = Unknown desc = m');
  assert.equal(of('CRI_DEADLINE_EXCEEDED'), 'rpc error: code = DeadlineExceeded desc = m');
  assert.equal(of('CRI_CANCELLED'), 'rpc error: code = Canceled desc = m');
  assert.equal(of('POD_SANDBOX_CONFIG'), 'm');
});

it('puts the address of the node’s own family first, and one of each family', () => {
  const ips = ['10.1.1.1', 'fd00:0:0::1', 'fd00::2'];
  assert.deepEqual(sortPodIps(ips, ['10.0.0.1']), ['10.1.1.1', 'fd00::1']);
  assert.deepEqual(sortPodIps(ips, ['fd01::1', '10.0.0.1']), ['fd00::1', '10.1.1.1']);
  assert.deepEqual(sortPodIps(['fd00::1'], ['10.0.0.1']), ['fd00::1']);
  assert.deepEqual(sortPodIps(['nonsense'], []), []);
});
