#include "server/delay_policy.h"

namespace leeway {

bool SetDelayPolicy(const std::string& text, v1::Policy* policy) {
  if (text != "apply" && text != "scale" && text != "dc") return false;
  policy->set_delay_policy(text == "scale" ? v1::SCALE : v1::APPLY);
  if (text != "dc") {
    policy->clear_dc_lambda();
  } else if (policy->dc_lambda() == 0) {
    policy->set_dc_lambda(kDcLambda);
  }
  return true;
}

std::string DelayPolicyText(const v1::Policy& policy) {
  if (CorrectsDelay(policy)) return "dc";
  return policy.delay_policy() == v1::SCALE ? "scale" : "apply";
}

}  // namespace leeway
