package simulator

// vendorInput is the schema's VendorConfigInput: at most one is set, and none
// means Terraform.
type vendorInput struct {
	Ansible        *ansibleConfig
	CloudFormation *cloudFormationConfig
	Kubernetes     *kubernetesConfig
	OpenTofu       *toolInput
	Pulumi         *pulumiConfig
	Terraform      *toolInput
	Terragrunt     *terragruntInput
}

// name is the vendor as searchStacks compares it.
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

// toolInput is what OpenTofu and Terraform have in common; Concise is OpenTofu's.
type toolInput struct {
	Concise                    *bool
	ExternalStateAccessEnabled *bool
	UseSmartSanitization       *bool
	Version                    *string
	WorkflowTool               *string
	Workspace                  *string
}

type toolOut struct {
	Concise                    bool
	ExternalStateAccessEnabled bool
	UseSmartSanitization       bool
	Version                    *string
	WorkflowTool               *string
	Workspace                  *string
}

func (in toolInput) out() *toolOut {
	return &toolOut{
		Concise: truth(in.Concise), ExternalStateAccessEnabled: truth(in.ExternalStateAccessEnabled),
		UseSmartSanitization: truth(in.UseSmartSanitization), Version: in.Version, WorkflowTool: in.WorkflowTool,
		Workspace: in.Workspace,
	}
}

type terragruntInput struct {
	TerraformVersion                  *string
	TerragruntVersion                 *string
	UseRunAll                         bool
	UseSmartSanitization              bool
	UseStateManagement                *bool
	SkipReplanWhenRunAll              *bool
	SkipReplan                        *bool
	PrefixResourceNamesWithModuleName *bool
	Tool                              *string
}

type terragruntOut struct {
	TerraformVersion                  *string
	TerragruntVersion                 *string
	UseRunAll                         bool
	UseSmartSanitization              bool
	UseStateManagement                bool
	PrefixResourceNamesWithModuleName bool
	SkipReplanWhenRunAll              bool
	SkipReplan                        bool
	Tool                              string
}

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

func (o *vendorOut) ToStackConfigVendorOpenTofu() (*toolOut, bool) {
	if o.in.OpenTofu == nil {
		return nil, false
	}
	return o.in.OpenTofu.out(), true
}

func (o *vendorOut) ToStackConfigVendorPulumi() (*pulumiConfig, bool) {
	return o.in.Pulumi, o.in.Pulumi != nil
}

func (o *vendorOut) ToStackConfigVendorTerraform() (*toolOut, bool) {
	if o.in.Terraform != nil {
		return o.in.Terraform.out(), true
	}
	none := o.in == vendorInput{}
	return toolInput{}.out(), none
}

func (o *vendorOut) ToStackConfigVendorTerragrunt() (*terragruntOut, bool) {
	in := o.in.Terragrunt
	if in == nil {
		return nil, false
	}
	out := &terragruntOut{
		TerraformVersion: in.TerraformVersion, TerragruntVersion: in.TerragruntVersion, UseRunAll: in.UseRunAll,
		UseSmartSanitization: in.UseSmartSanitization, UseStateManagement: truth(in.UseStateManagement),
		PrefixResourceNamesWithModuleName: truth(in.PrefixResourceNamesWithModuleName),
		SkipReplanWhenRunAll:              truth(in.SkipReplanWhenRunAll), SkipReplan: truth(in.SkipReplan),
		Tool: "TERRAFORM_FOSS",
	}
	if in.Tool != nil {
		out.Tool = *in.Tool
	}
	return out, true
}
