package simulator

import "cmp"

// vendorInput is the schema's VendorConfigInput: at most one is set, and none
// means Terraform.
type vendorInput struct {
	Ansible        *ansibleConfig
	CloudFormation *cloudFormationConfig
	Kubernetes     *kubernetesConfig
	OpenTofu       *tool
	Pulumi         *pulumiConfig
	Terraform      *tool
	Terragrunt     *terragrunt
}

// name returns the vendor as searchStacks compares it.
// Assumption: it is the end of the type's name in vendorConfig. The provider's
// acceptance test confirms "Terraform".
func (in vendorInput) name() string {
	switch {
	case in.Ansible != nil:
		return "Ansible"
	case in.CloudFormation != nil:
		return "CloudFormation"
	case in.Kubernetes != nil:
		return "Kubernetes"
	case in.OpenTofu != nil:
		return "OpenTofu"
	case in.Pulumi != nil:
		return "Pulumi"
	case in.Terragrunt != nil:
		return "Terragrunt"
	}
	return "Terraform"
}

type ansibleConfig struct{ Playbook string }

type cloudFormationConfig struct {
	EntryTemplateFile string
	Region            string
	StackName         string
	TemplateBucket    string
}

type kubernetesConfig struct {
	Namespace              string
	KubectlVersion         *string
	KubernetesWorkflowTool *string
}

type pulumiConfig struct {
	LoginURL  string
	StackName string
}

// tool is the configuration of OpenTofu or Terraform; Concise is OpenTofu's alone.
type tool struct {
	Concise                    flag
	ExternalStateAccessEnabled flag
	UseSmartSanitization       flag
	Version                    *string
	WorkflowTool               *string
	Workspace                  *string
}

type terragrunt struct {
	TerraformVersion                  *string
	TerragruntVersion                 *string
	UseRunAll                         bool
	UseSmartSanitization              bool
	UseStateManagement                flag
	SkipReplanWhenRunAll              flag
	SkipReplan                        flag
	PrefixResourceNamesWithModuleName flag
	Tool                              *string
}

type terragruntOut struct{ terragrunt }

func (o *terragruntOut) Tool() string { return deref(cmp.Or(o.terragrunt.Tool, new("TERRAFORM_FOSS"))) }

// vendorOut is the schema's union StackVendorConfig.
type vendorOut struct{ in vendorInput }

func (o *vendorOut) ToStackConfigVendorAnsible() (*ansibleConfig, bool) {
	return o.in.Ansible, o.in.Ansible != nil
}

func (o *vendorOut) ToStackConfigVendorCloudFormation() (*cloudFormationConfig, bool) {
	return o.in.CloudFormation, o.in.CloudFormation != nil
}

func (o *vendorOut) ToStackConfigVendorKubernetes() (*kubernetesConfig, bool) {
	return o.in.Kubernetes, o.in.Kubernetes != nil
}

func (o *vendorOut) ToStackConfigVendorOpenTofu() (*tool, bool) {
	return o.in.OpenTofu, o.in.OpenTofu != nil
}

func (o *vendorOut) ToStackConfigVendorPulumi() (*pulumiConfig, bool) {
	return o.in.Pulumi, o.in.Pulumi != nil
}

func (o *vendorOut) ToStackConfigVendorTerraform() (*tool, bool) {
	none := o.in == vendorInput{}
	return cmp.Or(o.in.Terraform, &tool{}), o.in.Terraform != nil || none
}

func (o *vendorOut) ToStackConfigVendorTerragrunt() (*terragruntOut, bool) {
	return &terragruntOut{deref(o.in.Terragrunt)}, o.in.Terragrunt != nil
}
