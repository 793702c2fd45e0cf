import assert from 'node:assert/strict';
import { it } from 'node:test';
import { AgentError } from '../../../../src/core/index.ts';
import { nextRetry } from '../../../../src/kubelet/pods/failures.ts';

it('a claim that is not bound yet is looked at every few seconds, however long it takes', () => {
  const pause = (code: string) => {
    const error = new AgentError({ code, message: 'PVC is not bound' });
    return nextRetry({ do: 'prepareVolumes' }, { at: 0, failures: 30, runtimeAway: false }, error, 0).at;
  };
  assert.ok(pause('VOLUMES_PENDING') <= 5_000);
  assert.equal(pause('VOLUMES_NOT_READY'), 122_000);
});
