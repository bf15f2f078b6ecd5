package policy_test

// sitePython is written as sites write theirs: tabs and spaces, Python 2,
// semicolons, strings that join, a dict that has a key twice.
const sitePython = `#!/usr/bin/python
# -*- coding: utf-8 -*-
import sys, os
import logging
import re as regex
from string import lower

logging.basicConfig(filename="/var/log/policy.log", level=logging.DEBUG)
log = logging.getLogger(__name__)

STS = ("pb://localhost?name=STS&rootFolder=${ARCHAPPL_SHORT_TERM_FOLDER}"
       "&partitionGranularity=PARTITION_HOUR&hold=%d" % 2)
LTS = 'pb://localhost?name=LTS&rootFolder=' + os.environ['ARCHAPPL_LONG_TERM_FOLDER']
ALARMS = ["HIHI", "HIGH", "LOW", "LOLO"]
FIELDS = {
    "ai": ALARMS,
    "ao": ALARMS + ["DRVH", "DRVL"],
    "motor": ["RBV", "VAL", "HIHI"],
    "ai": ALARMS + ["EGU"],
}
QUIET = (":HEARTBEAT", ":CLOCK")

def getPolicyList():
	"""What users choose from."""
	pvPoliciesDict = {}
	pvPoliciesDict['Default'] = 'The default policy'
	pvPoliciesDict['Slow'] = 'Scanned each minute'
	pvPoliciesDict['BPMS'] = u'Beam positions'
	return pvPoliciesDict

def getFieldsArchivedAsPartOfStream():
	 return ['HIHI','HIGH','LOW','LOLO','LOPR','HOPR','DRVH','DRVL'];

def determinePolicy(pvInfoDict):
	pvPolicyDict = {}
	asked = ''
	if pvInfoDict.has_key('policyName'):
		asked = pvInfoDict['policyName']
	name = pvInfoDict["pvName"]
	logging.debug("determinePolicy for %s", pvInfoDict)
	pvPolicyDict['samplingPeriod'] = 1.0
	pvPolicyDict['samplingMethod'] = 'MONITOR'
	pvPolicyDict['dataStores'] = [STS, LTS]
	pvPolicyDict['policyName'] = 'Default';
        if asked == 'Slow':
		pvPolicyDict['samplingPeriod'] = 60.0; pvPolicyDict['samplingMethod'] = 'SCAN'
		pvPolicyDict['policyName'] = 'Slow'
	elif asked == 'BPMS' or (asked == '' and regex.match('.*BPM\d+:[XY]$', name) is not None):
		pvPolicyDict['samplingPeriod'] = 1.0/10
		pvPolicyDict['policyName'] = 'BPMS'
		pvPolicyDict['controlPV'] = 'BEAM:ON'
	elif name.endswith(QUIET) or any(lower(part) == 'test' for part in name.split(':')):
		print "not archived:", name
		log.warning("%s is not archived", name)
		pvPolicyDict['samplingMethod'] = 'DONT_ARCHIVE'
	if pvInfoDict.get('RTYP') <> None:
		pvPolicyDict["archiveFields"] = FIELDS.get(pvInfoDict['RTYP'], [])
	return pvPolicyDict

if __name__ == "__main__":
	with open(sys.argv[1]) as f:
		print determinePolicy({'pvName': f.read()})
`
