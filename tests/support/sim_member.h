// SimMember: a worker of the simulated cluster, as the cluster's script sees it.
//
// Thread safety: none.
#pragma once

#include <string>

namespace leeway {

class SimMember {
 public:
  virtual ~SimMember() = default;

  // A new process, and with it a new incarnation, joins.
  virtual void Start() = 0;
  // Dies on the spot, as by kill -9.
  virtual void Kill() = 0;
  // SIGTERM: it leaves after the step under way.
  virtual void Preempt() = 0;

  virtual const std::string& name() const = 0;
  virtual bool preempted() const = 0;
  virtual bool running() const = 0;
  virtual bool joined() const = 0;
  // The cluster sent it home: the run is ending.
  virtual bool finished() const = 0;
  // The cluster does not want it any more, as its gradients are not finite.
  virtual bool quarantined() const = 0;
  // An answer that it should not have got.
  virtual const std::string& error() const = 0;
};

}  // namespace leeway
